"""Street-scene segmentation for ROS 2: camera images in, semantic masks out."""

__version__ = "0.1.0"
