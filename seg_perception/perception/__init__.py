"""What follows from a class map: pure functions of arrays, in metres where the camera's place is known."""
