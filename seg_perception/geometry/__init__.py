"""Where things are: transforms between frames, camera models, the ground."""
