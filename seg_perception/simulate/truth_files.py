"""The truth about one frame as files: class and instance pictures, the ground's grid, poses and objects."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from seg_perception.config import PipelineConfig
from seg_perception.labels import CITYSCAPES
from seg_perception.simulate.contacts import ObjectContacts
from seg_perception.simulate.ground_truth import GroundTruth
from seg_perception.simulate.objects import SceneObject
from seg_perception.simulate.scene import ScenePose, SimulatedFrame
from seg_perception.types import CameraInfo

__all__ = ["ABOUT", "CONTACT_RANGE_M", "SUFFIXES", "truth_files"]

CONTACT_RANGE_M = 60.0
"""How far contacts with the ground are told."""

SUFFIXES = ("_class.png", "_instance.png", "_grid.npy", ".json")

ABOUT = """\
STAMP is the image's stamp in nanoseconds. Lengths are metres, angles radians, axes those of REP 103.

truth/STAMP_class.png     uint8, Cityscapes train id of every pixel: 0 road, 1 sidewalk ... 18 bicycle
truth/STAMP_instance.png  uint16, id of the object that every pixel belongs to, 0 for none
truth/STAMP_grid.npy      int8 [rows, columns], cells of the ground as nav_msgs/OccupancyGrid orders them: rows by
                          rising y, columns by rising x. 0: road is seen at the cell's centre; 50: other ground is
                          seen there; 100: a thing hides it, but not the ground contact_depth_m nearer to the camera;
                          -1: not seen
truth/STAMP.json          base_from_optical, world_from_base, base_from_body: 4 x 4 matrices, a_from_b takes
                          coordinates in b to those in a. base is flat under the vehicle, optical the camera's frame,
                          body the vehicle on its springs.
                          camera: calibration as in sensor_msgs/CameraInfo.
                          grid: extent of the grid in base.
                          objects: what is countable near by, seen or not, in base: position is the middle of the
                          footprint, size is length, width, height, velocity is over the ground, relative_velocity the
                          change of its x and y. visible_px is how many pixels show it. contact, null where none is
                          seen up to 60 m: place is the nearest visible place of the ground at which it is met, range
                          and bearing_rad that place's from the camera's foot and heading, on_plane where the same
                          line of sight meets the road's plane, lift how high above the ground the object is met,
                          width and height the object's as seen from there.
"""


def truth_files(frame: SimulatedFrame, pose: ScenePose, truth: GroundTruth) -> dict[str, bytes]:
    """Contents by file name."""
    grid = _grid()
    values = truth.grid(grid["x_m"], grid["y_m"], grid["resolution_m"], grid["contact_depth_m"])
    contacts = truth.contacts(CONTACT_RANGE_M, frame.instance_ids)
    contents = (
        _png(frame.class_ids), _png(frame.instance_ids), _npy(values), _json(frame, pose, grid, truth, contacts),
    )  # fmt: skip
    return {f"{frame.stamp_ns}{suffix}": data for suffix, data in zip(SUFFIXES, contents)}


def _grid() -> dict[str, Any]:
    """The grid in the base frame that the node publishes by default."""
    config = PipelineConfig()
    return {
        "x_m": config.grid_x_m,
        "y_m": config.grid_y_m,
        "resolution_m": config.grid_resolution_m,
        "contact_depth_m": config.contact_depth_m,
    }


def _png(image: np.ndarray) -> bytes:
    _, data = cv2.imencode(".png", image)
    return data.tobytes()


def _npy(array: np.ndarray) -> bytes:
    """NumPy's own format, version 1.0, written out: `np.save` would pad it differently from release to release."""
    header = f"{{'descr': '|i1', 'fortran_order': False, 'shape': {array.shape}, }}"
    padded = header + " " * (-(10 + len(header) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode("latin1") + array.tobytes()


def _json(
    frame: SimulatedFrame, pose: ScenePose, grid: dict[str, Any], truth: GroundTruth, contacts: ObjectContacts
) -> bytes:
    areas = np.bincount(frame.instance_ids.ravel(), minlength=1 << 16)
    row_of = {int(number): row for row, number in enumerate(contacts.instance_ids)}
    objects = []
    for thing, relative in zip(frame.objects, truth.relative_mps(frame.objects).tolist()):
        row = row_of.get(thing.instance_id)
        content = _object(thing, truth.base_from_world)
        content["relative_velocity"] = relative
        content["visible_px"] = int(areas[thing.instance_id])
        content["contact"] = None if row is None else _contact(contacts, row)
        objects.append(content)
    content = {
        "stamp_ns": frame.stamp_ns,
        "base_from_optical": frame.base_from_optical.tolist(),
        "world_from_base": frame.world_from_base.tolist(),
        "base_from_body": pose.base_from_body.tolist(),
        "camera": _camera(frame.camera),
        "grid": grid,
        "objects": objects,
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def _contact(contacts: ObjectContacts, row: int) -> dict[str, Any]:
    return {
        "place": [*contacts.contact_xy[row].tolist(), float(contacts.contact_z_m[row])],
        "range": float(contacts.range_m[row]),
        "bearing_rad": float(contacts.bearing_rad[row]),
        "on_plane": contacts.plane_xy[row].tolist(),
        "lift": float(contacts.lift_m[row]),
        "width": float(contacts.width_m[row]),
        "height": float(contacts.height_m[row]),
    }


def _camera(camera: CameraInfo) -> dict[str, Any]:
    return {
        "width": camera.width,
        "height": camera.height,
        "distortion_model": camera.distortion_model,
        "d": camera.d,
        "k": camera.k,
    }


def _object(thing: SceneObject, base_from_world: np.ndarray) -> dict[str, Any]:
    ahead = (math.cos(thing.yaw_rad), math.sin(thing.yaw_rad), 0.0)
    x, y, _ = _turned(base_from_world, ahead)
    return {
        "id": thing.instance_id,
        "class": CITYSCAPES.labels[thing.class_id].name,
        "position": (base_from_world @ np.array([*thing.position, 1.0]))[:3].tolist(),
        "yaw_rad": math.atan2(y, x),
        "size": thing.size,
        "velocity": _turned(base_from_world, (*thing.velocity, 0.0)),
    }


def _turned(base_from_world: np.ndarray, vector: Sequence[float]) -> list[float]:
    turned: list[float] = (base_from_world[:3, :3] @ np.asarray(vector)).tolist()
    return turned
