"""The lens models of sensor_msgs/CameraInfo, written down a second time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def distorted(points: np.ndarray, k: Sequence[float], model: str, d: Sequence[float]) -> np.ndarray:
    """Pixels [N, 2] of points [N, 3] of the optical frame; the formulas are those of OpenCV's documentation."""
    x, y = points[:, 0] / points[:, 2], points[:, 1] / points[:, 2]
    r2 = x * x + y * y
    if model == "equidistant":
        r = np.sqrt(r2)
        theta = np.arctan(r)
        bent = theta * (1 + d[0] * theta**2 + d[1] * theta**4 + d[2] * theta**6 + d[3] * theta**8)
        x, y = x * bent / r, y * bent / r
    elif model != "none":
        k1, k2, p1, p2, k3, k4, k5, k6 = (*d, 0, 0, 0)[:8]
        gain = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
        x, y = (
            x * gain + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * gain + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )
    return np.stack([k[0] * x + k[2], k[4] * y + k[5]], axis=-1)


def undistorted(pixels: np.ndarray, k: Sequence[float], model: str, d: Sequence[float]) -> np.ndarray:
    """Directions [N, 2], 1 m deep, that fall on pixels [N, 2]: Newton's way with the slope of a lens without bend."""
    flat = (pixels - (k[2], k[5])) / (k[0], k[4])
    for _ in range(200):
        seen = distorted(np.column_stack([flat, np.ones(len(flat))]), k, model, d)
        flat = flat + (pixels - seen) / (k[0], k[4])
    return flat
