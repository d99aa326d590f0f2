"""rosbag2 bags in and out, no ROS needed.

A bag is read by this package's own tolerant readers, sound or not: what a robot recorded before its power
failed is read as far as it is whole. rosbags provides the message types and CDR.
"""

from seg_perception.bag.kit import Definition, RosbagsKit
from seg_perception.bag.mcap_writer import COMPRESSIONS, McapWriter
from seg_perception.bag.reader import Bag, is_bag, natural_key
from seg_perception.bag.records import Connection, RawMessage, Record

__all__ = [
    "COMPRESSIONS",
    "Bag",
    "Connection",
    "Definition",
    "McapWriter",
    "RawMessage",
    "Record",
    "RosbagsKit",
    "is_bag",
    "natural_key",
]
