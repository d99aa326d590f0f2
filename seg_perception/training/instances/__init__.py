"""Learns which pixels are one thing: a branch for centres and offsets on top of a finished network."""
