"""A simulated street, seen by a camera that drives along it, with exact ground truth for every pixel.

::

    scene = StreetScene(seed=0, width_px=640, height_px=480, rate_hz=15.0)
    for frame in scene.frames(30):
        frame.rgb, frame.class_ids, frame.instance_ids, frame.camera, frame.world_from_base
    scene.ground_truth(12).at(points_xy)  # what is seen of the ground there, to far less than a pixel
    scene.ground_truth(12).contacts(60.0)  # where the objects that are seen meet the ground

It makes no claim about how well a model does on real roads: real images do that.
"""

from __future__ import annotations

from seg_perception.simulate.camera import PinholeCamera
from seg_perception.simulate.contacts import ObjectContacts
from seg_perception.simulate.ground_truth import GroundTruth
from seg_perception.simulate.lens import DISTORTIONS, Lens
from seg_perception.simulate.objects import SceneObject
from seg_perception.simulate.scene import EPOCH_NS, ScenePose, SimulatedFrame, StreetScene

__all__ = [
    "DISTORTIONS",
    "EPOCH_NS",
    "GroundTruth",
    "Lens",
    "ObjectContacts",
    "PinholeCamera",
    "SceneObject",
    "ScenePose",
    "SimulatedFrame",
    "StreetScene",
]
