"""Where objects stand, worked out cell by cell and object by object."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.ground import Axis, ClassMap, GroundCamera
from seg_perception.geometry.transforms import OPTICAL_FROM_BODY, rotation_of_rpy
from seg_perception.perception.obstacles import PoseNoise

LOOK = 3
Cell = tuple[int, int]


@dataclass
class PlainObstacle:
    number: int
    position: np.ndarray
    covariance: np.ndarray
    relative_sigma: float
    width: float
    height: float
    contacts: list[np.ndarray]


def centre(axis: Axis, index: float) -> float:
    return (index + 0.5 - axis.offset) / axis.scale


class Seen:
    """A class map before a camera: rays in single precision, as they are kept."""

    def __init__(self, camera: CameraModel, onto: ClassMap, ground: GroundCamera) -> None:
        self.h, self.w = onto.rows.cells, onto.columns.cells
        self.turn, self.eye, self.foot = ground.pose[:3, :3], ground.eye_height_m, np.array(ground.foot)
        pixels = [(centre(onto.columns, j), centre(onto.rows, i)) for i, j in np.ndindex(self.h, self.w)]
        self.rays = np.nan_to_num(camera.rays(np.array(pixels)).astype(np.float32)).reshape(self.h, self.w, 3)

    def ray(self, cell: Cell) -> np.ndarray:
        return self.rays[cell].astype(np.float64)

    def slope(self, cell: Cell, axis: int) -> np.ndarray:
        """d (x, y) for one cell more along rows (0) or columns (1)."""
        limit = (self.h, self.w)[axis] - 1
        before, after = list(cell), list(cell)
        before[axis], after[axis] = max(0, cell[axis] - 1), min(limit, cell[axis] + 1)
        rise = self.rays[after[0], after[1], :2] - self.rays[before[0], before[1], :2]
        return rise.astype(np.float64) / max(1, after[axis] - before[axis])

    def way(self, cell: Cell) -> tuple[float, float]:
        """(rows, columns) towards what is straight below, the larger of them 1."""
        x, y, _ = self.ray(cell)
        down = self.turn.T @ [0.0, 0.0, -1.0]
        wanted = np.array([down[0] - down[2] * x, down[1] - down[2] * y])
        matrix = np.column_stack([self.slope(cell, 0), self.slope(cell, 1)])
        if abs(np.linalg.det(matrix)) < 1e-15:
            return 0.0, 0.0
        rows, columns = np.linalg.solve(matrix, wanted)
        longest = max(abs(rows), abs(columns), 1e-30)
        return rows / longest, columns / longest

    def place(self, direction: np.ndarray) -> np.ndarray:
        return direction[:2] * self.eye / -direction[2]


def plain_obstacles(
    instance_map: np.ndarray, free: np.ndarray, camera: CameraModel, onto: ClassMap, ground: GroundCamera,
    noise: PoseNoise,
) -> list[PlainObstacle]:  # fmt: skip
    """Every object with a contact, near the horizon too."""
    seen = Seen(camera, onto, ground)
    found = []
    for number in sorted(set(instance_map.ravel().tolist()) - {0}):
        outline = _outline(instance_map, number)
        contacts = _contacts(seen, instance_map, free, number, outline)
        if contacts:
            found.append(_obstacle(seen, onto, ground, noise, number, outline, contacts))
    return found


def _outline(instance_map: np.ndarray, number: int) -> list[Cell]:
    h, w = instance_map.shape
    outline = []
    for i, j in np.argwhere(instance_map == number).tolist():
        others = [
            not (0 <= a < h and 0 <= b < w and instance_map[a, b] == number)
            for a, b in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1))
        ]
        if any(others) and not all(others):
            outline.append((i, j))
    return outline


def _contacts(
    seen: Seen, instance_map: np.ndarray, free: np.ndarray, number: int, outline: list[Cell]
) -> dict[Cell, tuple[np.ndarray, Cell]]:
    """Direction of the contact, and the cell from which it was looked for, by the object's last cell."""
    found: dict[Cell, tuple[np.ndarray, Cell]] = {}
    for length in range(1, LOOK + 1):
        for cell in outline:
            rows, columns = seen.way(cell)
            path = [(cell[0] + round(rows * n), cell[1] + round(columns * n)) for n in range(length + 1)]
            inside = all(0 <= i < seen.h and 0 <= j < seen.w for i, j in path)
            if not inside or any(instance_map[step] != number for step in path[:-1]) or path[-2] in found:
                continue
            if free[path[-1]]:
                direction = seen.turn @ (seen.ray(path[-2]) + seen.ray(path[-1])) / 2
                found[path[-2]] = (direction, cell)
    return {
        last: told
        for last, told in found.items()
        if told[0][2] < -1e-6 and not _goes_on(seen, instance_map, number, last, told[1])
    }


def _goes_on(seen: Seen, instance_map: np.ndarray, number: int, last: Cell, cell: Cell) -> bool:
    """To the left or the right of the way down there is still the object."""
    rows, columns = seen.way(cell)
    i, j = last[0] + round(rows * LOOK), last[1] + round(columns * LOOK)
    beside = (round(-columns), round(rows))
    for a, b in ((i + beside[0], j + beside[1]), (i - beside[0], j - beside[1])):
        if 0 <= a < seen.h and 0 <= b < seen.w and instance_map[a, b] == number:
            return True
    return False


def _obstacle(
    seen: Seen, onto: ClassMap, ground: GroundCamera, noise: PoseNoise, number: int, outline: list[Cell],
    contacts: dict[Cell, tuple[np.ndarray, Cell]],
) -> PlainObstacle:  # fmt: skip
    told = [(math.hypot(*seen.place(d)), d, cell) for d, cell in contacts.values()]
    distance, direction, cell = min(told, key=lambda one: one[0])
    unit = seen.place(direction) / distance
    left, up = [], []
    for other in outline:
        d = seen.turn @ seen.ray(other)
        ahead = d[:2] @ unit
        left.append(distance / ahead * (d[1] * unit[0] - d[0] * unit[1]) if ahead > 0.05 else 0.0)
        up.append(distance / ahead * d[2] if ahead > 0.05 else -seen.eye)
    cell_left, cell_up = _cell_size(seen, distance, direction, unit, cell)
    linear = _declared(seen, onto, noise, direction, cell) + _spread(seen, onto, ground, noise, told)
    slant = math.hypot(distance, seen.eye)
    relative = math.sqrt(unit @ linear @ unit) / slant
    return PlainObstacle(
        number,
        seen.foot + seen.place(direction),
        linear + 8 * relative**4 * slant**2 * np.outer(unit, unit),
        relative,
        max(left) - min(left) + cell_left,
        seen.eye + max(up) + cell_up / 2,
        [seen.foot + seen.place(d) for _, d, _ in told],
    )


def _cell_size(seen: Seen, distance: float, d: np.ndarray, unit: np.ndarray, cell: Cell) -> tuple[float, float]:
    """How far apart two neighbours are on an upright plane at the contact, across and upwards."""
    left, up = [], []
    for axis in (0, 1):
        step = 1e-4 * (seen.turn[:, :2] @ seen.slope(cell, axis))
        there, back = (turned * distance / (turned[:2] @ unit) for turned in (d + step, d - step))
        change = (there - back) / 2e-4
        left.append(change[1] * unit[0] - change[0] * unit[1])
        up.append(change[2])
    return math.hypot(*left), math.hypot(*up)


def _declared(seen: Seen, onto: ClassMap, noise: PoseNoise, direction: np.ndarray, cell: Cell) -> np.ndarray:
    """What pixels, cells and the pose add up to, by trying what a little more and a little less of each does."""
    body = seen.turn @ OPTICAL_FROM_BODY
    rpy = math.atan2(body[2, 1], body[2, 2]), -math.asin(body[2, 0]), math.atan2(body[1, 0], body[0, 0])
    ray, slopes = seen.turn.T @ direction, np.column_stack([seen.slope(cell, 0), seen.slope(cell, 1)])

    def place(change: np.ndarray) -> np.ndarray:
        turned = rotation_of_rpy(*(np.array(rpy) + change[5:])) @ OPTICAL_FROM_BODY.T
        d = turned @ (ray + np.append(slopes @ change[:2], 0.0))
        return change[2:4] + d[:2] * (seen.eye + change[4]) / -d[2]

    sigmas = [math.sqrt((noise.pixel_sigma_px * axis.scale) ** 2 + 1 / 12) for axis in (onto.rows, onto.columns)]
    sigmas += [*noise.position_sigma_m, *noise.rotation_sigma_rad]
    total = np.zeros((2, 2))
    for change, sigma in zip(np.eye(8) * 1e-5, sigmas):
        by = (place(change) - place(-change)) / 2e-5 * sigma
        total += np.outer(by, by)
    return total


def _spread(
    seen: Seen, onto: ClassMap, ground: GroundCamera, noise: PoseNoise, told: list[tuple[float, np.ndarray, Cell]]
) -> np.ndarray:
    """Second moment of the contacts about the nearest, by how likely each of them is the nearest in truth."""
    nearest = min(told, key=lambda one: one[0])
    first_pose, first_cells = _changes(seen, onto, ground, noise, nearest)
    total, moment = 0.0, np.zeros((2, 2))
    for one in told:
        pose, cells = _changes(seen, onto, ground, noise, one)
        variance = cells @ cells + first_cells @ first_cells + (pose - first_pose) @ (pose - first_pose)
        weight = math.exp(-((1 / one[0] - 1 / nearest[0]) ** 2) / (2 * variance))
        aside = seen.place(one[1]) - seen.place(nearest[1])
        total += weight
        moment += weight * np.outer(aside, aside)
    return moment / total


def _changes(
    seen: Seen, onto: ClassMap, ground: GroundCamera, noise: PoseNoise, one: tuple[float, np.ndarray, Cell]
) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations of one over a contact's range, for roll, pitch, yaw; for the map's rows and columns."""
    _, d, cell = one
    heading = np.array([math.cos(ground.heading_rad), math.sin(ground.heading_rad), 0.0])
    axes = (seen.turn[:, 2], np.cross([0.0, 0.0, 1.0], heading), np.array([0.0, 0.0, 1.0]))

    def change(turned: np.ndarray) -> float:
        step = 1e-6
        there, back = (1 / math.hypot(*seen.place(d + s * turned)) for s in (step, -step))
        return (there - back) / (2 * step)

    pose = [change(np.cross(axis, d)) * sigma for axis, sigma in zip(axes, noise.rotation_sigma_rad)]
    cells = [
        change(seen.turn[:, :2] @ seen.slope(cell, axis)) * math.sqrt((noise.pixel_sigma_px * of.scale) ** 2 + 1 / 12)
        for axis, of in ((0, onto.rows), (1, onto.columns))
    ]
    return np.array(pose), np.array(cells)
