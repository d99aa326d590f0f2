"""What a model gets right, how sure it is, and how fast: measured on labelled frames."""
