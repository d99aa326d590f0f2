"""A second, slow renderer: one ray per pixel, intersected with everything there is. Shares no code with the first."""

from __future__ import annotations

import math

import numpy as np

from seg_perception.simulate import SimulatedFrame, StreetScene
from seg_perception.simulate.world import Snapshot

ROAD, SKY = 0, 10


def snapshot_of(scene: StreetScene, frame: SimulatedFrame, curvature_per_m: float = 0.0) -> Snapshot:
    """All there is to see in a frame."""
    time_s = (frame.stamp_ns - scene.stamp_ns(0)) / 1e9
    x, y = (frame.world_from_base @ frame.base_from_optical)[:2, 3]
    if curvature_per_m:
        lap = 2 * math.pi / curvature_per_m
        x = math.atan2(curvature_per_m * x, 1 - curvature_per_m * y) / curvature_per_m
        x += lap * round((9.0 * time_s - x) / lap)
    return scene.world.at(time_s, float(x))


def directions(k: np.ndarray, pose: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """World directions [N, 3] of pixels, 1 m deep along the optical axis."""
    x = (columns - k[0, 2]) / k[0, 0]
    y = (rows - k[1, 2]) / k[1, 1]
    right, down, forward = pose[:3, 0], pose[:3, 1], pose[:3, 2]
    return x[:, None] * right + y[:, None] * down + forward


def outline(corners: np.ndarray) -> np.ndarray:
    """The polygon's corners without repetitions."""
    kept = [corners[0]]
    for corner in corners[1:]:
        if not np.array_equal(corner, kept[-1]):
            kept.append(corner)
    return np.array(kept)


def hit_polygon(polygon: np.ndarray, eye: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depth along each ray (inf for a miss), and whether the polygon is met from its front."""
    normal = np.cross(polygon[1] - polygon[0], polygon[2] - polygon[0])
    along = rays @ normal
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.dot(polygon[0] - eye, normal) / along
        point = eye + depth[:, None] * rays
        # Even-odd rule in the coordinate plane that the polygon is seen largest in.
        axes = [axis for axis in range(3) if axis != int(np.argmax(np.abs(normal)))]
        p, corner = point[:, axes], polygon[:, axes]
        inside = np.zeros(len(rays), bool)
        for a, b in zip(corner, np.roll(corner, -1, axis=0)):
            if a[1] != b[1]:
                straddles = (a[1] > p[:, 1]) != (b[1] > p[:, 1])
                inside ^= straddles & (p[:, 0] < a[0] + (p[:, 1] - a[1]) * (b[0] - a[0]) / (b[1] - a[1]))
    return np.where(inside & (depth > 0), depth, np.inf), along < 0


def ray_cast(
    snapshot: Snapshot, k: np.ndarray, pose: np.ndarray, columns: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Class ids and instance ids of pixels."""
    eye, rays = pose[:3, 3], directions(k, pose, columns.astype(float), rows.astype(float))
    nearest = np.where(rays[:, 2] < 0, -eye[2] / np.where(rays[:, 2] < 0, rays[:, 2], -1.0), np.inf)
    classes = np.where(np.isfinite(nearest), ROAD, SKY)
    instances = np.zeros(len(rays), int)
    mesh = snapshot.mesh
    for corners, class_id, instance_id in zip(mesh.corners, mesh.class_ids, mesh.instance_ids):
        depth, front = hit_polygon(outline(corners), eye, rays)
        # Of two surfaces in one plane the later one is seen: ground of another class on the road's plane.
        wins = front & (depth * (1 - 1e-9) < nearest) & (depth >= 0.1)
        nearest[wins], classes[wins], instances[wins] = depth[wins], class_id, instance_id
    right, down, forward = pose[:3, 0], pose[:3, 1], pose[:3, 2]
    for card in snapshot.cards:
        offset = np.array(card.foot) - eye
        depth = float(offset @ forward)
        height_px = card.height_m * k[1, 1] / depth
        if depth < 0.6 or height_px < 3.0:
            continue
        codes = card.sprite.levels[card.sprite.level_for(height_px)]
        point = depth * rays
        width_m = card.height_m * codes.shape[1] / codes.shape[0]
        u = ((point @ right - offset @ right) / width_m + 0.5) * codes.shape[1]
        v = (1 + (point @ down - offset @ down) / card.height_m) * codes.shape[0]
        for i in np.flatnonzero((u >= 0) & (u < codes.shape[1]) & (v >= 0) & (v < codes.shape[0]) & (depth < nearest)):
            code = int(codes[math.floor(v[i]), math.floor(u[i])])
            if code:
                nearest[i] = depth
                classes[i], instances[i] = card.labels[int(card.label_of_code[code])]
    return classes, instances
