"""Where things meet the ground, cell of the class map by cell: what is too thin for a grid's cells and for rays."""

from __future__ import annotations

import cv2
import numpy as np

from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.ground import ClassMap, GroundCamera
from seg_perception.perception.roles import IS_GROUND, OBSTACLE

__all__ = ["CellRays", "contacts"]

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


class CellRays:
    """Directions in which the cells of a class map are seen; made once for a camera, since to undo a lens is slow.

    Attributes:
        rays: float32 `[cells, 3]`, optical frame, z = 1; NaN for what no ray reaches.
    """

    def __init__(self, camera: CameraModel, onto: ClassMap) -> None:
        rows, columns = ((np.arange(axis.cells) + 0.5 - axis.offset) / axis.scale for axis in (onto.rows, onto.columns))
        pixels = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)
        self.rays = camera.rays(pixels).astype(np.float32)


def contacts(roles: np.ndarray, cells: CellRays, ground: GroundCamera, onto: ClassMap, depth_m: float) -> np.ndarray:
    """Places of the ground behind cells that show an obstacle right beside ground, float64 `[n, 2]`, ground frame.

    Only those that have seen ground, or the picture's edge, `depth_m` nearer to the camera's foot: the others are the
    sides of things, and the ground behind them is hidden.

    Args:
        roles: uint8, of the class map's cells one after another, and of what is not in it behind them.
    """
    shape = onto.rows.cells, onto.columns.cells
    own = roles[: onto.size].reshape(shape)
    beside = cv2.dilate(cv2.LUT(own, IS_GROUND.view(np.uint8)), _CROSS).view(bool)
    which = np.flatnonzero((own == OBSTACLE) & beside)
    directions = cells.rays[which] @ ground.pose[:3, :3].T.astype(np.float32)
    below = directions[:, 2] < -1e-6
    directions = directions[below].astype(np.float64)
    places = ground.pose[:2, 3] + directions[:, :2] * (ground.eye_height_m / -directions[:, 2])[:, None]
    nearer = ground.cells_at(*ground.nearer(places[:, 0], places[:, 1], depth_m), onto)
    return places[IS_GROUND.take(roles.take(nearer, mode="clip")) | (nearer == onto.size)]
