import numpy as np
import pytest

from seg_perception.types import CameraInfo, Heads, RegionOfInterest, Segmentation


def camera(**changes) -> CameraInfo:
    fields = {
        "height": 480, "width": 640, "distortion_model": "plumb_bob", "d": (0.1, -0.2, 0.0, 0.0, 0.0),
        "k": (500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0),
        "r": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        "p": (500.0, 0.0, 319.5, -60.0, 0.0, 510.0, 239.5, 0.0, 0.0, 0.0, 1.0, 0.0),
    }  # fmt: skip
    return CameraInfo(**{**fields, **changes})


def project(info: CameraInfo, x: float, y: float, z: float) -> tuple[float, float]:
    """Continuous image plane in ROS's convention: pixel centres at integers."""
    return info.p[0] * x / z + info.p[2] + info.p[3] / z, info.p[5] * y / z + info.p[6]


def test_a_scaled_camera_sees_the_same_point_in_the_same_place_of_the_picture() -> None:
    whole, half = camera(), camera().scaled(320, 120)
    u, v = project(whole, 0.7, -0.3, 5.0)
    su, sv = project(half, 0.7, -0.3, 5.0)
    # As a share of the picture, from edge to edge: the first pixel's left edge is at -0.5.
    assert (su + 0.5) / 320 == pytest.approx((u + 0.5) / 640)
    assert (sv + 0.5) / 120 == pytest.approx((v + 0.5) / 480)
    assert (half.width, half.height, half.d, half.r) == (320, 120, whole.d, whole.r)


def test_a_region_of_interest_and_binning_are_resolved() -> None:
    info = camera(roi=RegionOfInterest(100, 40, 400, 400), binning_x=2, binning_y=2)
    picture = info.scaled(200, 200)  # what the camera sends: the region, binned
    u, v = project(camera(), 0.2, 0.1, 4.0)
    pu, pv = project(picture, 0.2, 0.1, 4.0)
    assert (pu + 0.5) / 200 == pytest.approx((u - 100 + 0.5) / 400, abs=2e-3)
    assert (pv + 0.5) / 200 == pytest.approx((v - 40 + 0.5) / 400, abs=2e-3)
    assert picture.roi == RegionOfInterest() and picture.binning_x == 0


def test_maps_check_themselves() -> None:
    ids = np.zeros((2, 3), np.uint8)
    assert Heads(ids).confidence is None
    with pytest.raises(ValueError, match="uint8"):
        Heads(ids.astype(np.int64))
    with pytest.raises(ValueError, match="uint8"):
        Heads(ids, np.zeros((2, 3, 1), np.uint8))
    with pytest.raises(ValueError, match="non-empty"):
        Heads(np.zeros((0, 3), np.uint8))
    with pytest.raises(ValueError, match="one size"):
        Segmentation(ids, np.zeros((3, 2), np.uint8))
    assert Segmentation(None, None).class_ids is None
