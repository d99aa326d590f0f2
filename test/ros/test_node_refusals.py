"""What the running node refuses: images, parameters, models; and that nothing else is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
from harness import start_alone
from pictures import compressed_of, image_of, picture, pixels_of

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


MALFORMED: dict[str, tuple[str, Callable[[int], Any]]] = {
    "wrong data length": ("data_length", lambda i: image_of(picture(0), i, keep_bytes=1000)),
    "zero size": ("zero_size", lambda i: image_of(picture(0), i, height=0, width=0, step=0, keep_bytes=0)),
    "unknown encoding": ("unknown_encoding", lambda i: image_of(picture(0), i, encoding="chroma9")),
    "step too small": ("step_too_small", lambda i: image_of(picture(0), i, step=17)),
    "a huge header without data": (
        "too_large",
        lambda i: image_of(picture(0), i, height=20000, width=20000, step=60000, keep_bytes=0),
    ),
}


def test_malformed_images_are_counted_and_the_next_good_one_is_processed(ros: Any, replayed: dict[str, Any]) -> None:
    node = ros.start_node(**replayed)
    masks = ros.subscribe(IMAGE, "segmentation/mask")
    publisher = ros.publisher(IMAGE, "image")
    ros.publish_until_seen(publisher, image_of(picture(0), 0), masks)
    for number, (name, (reason, make)) in enumerate(MALFORMED.items(), 1):
        ros.until(lambda reason=reason, make=make: publisher.publish(make(99)) or ros.count(f"failed/{reason}"), name)
        assert ros.message() and reason in ros.values()["last_error"]
        ros.fresh_report()
        ros.publish_until_seen(publisher, image_of(picture(number), number), masks)
    ros.until(lambda: publisher.publish(image_of(picture(0), 77)) or ros.count("failed/backend"), "no mask recorded")
    ros.publish_until_seen(publisher, image_of(picture(6), 6), masks)
    ros.fresh_report()
    values = ros.values()
    failed = sum(int(n) for key, n in values.items() if key.startswith("failed/"))
    assert int(values["failed"]) == failed
    assert int(values["received"]) == int(values["published"]) + int(values["dropped"]) + failed + int(values["idle"])
    assert node.running and "Traceback" not in node.text
    assert "expected" in node.text  # refusals are logged with what was expected


def test_truncated_jpegs_are_counted_and_the_next_good_one_is_processed(ros: Any, replayed: dict[str, Any]) -> None:
    ros.start_node("-r", "image:=/front/image_raw", camera__transport="compressed", **replayed)
    masks = ros.subscribe(IMAGE, "segmentation/mask")
    publisher = ros.publisher(COMPRESSED, "/front/image_raw/compressed")
    whole = cv2.imencode(".jpg", picture(0))[1].tobytes()
    ros.publish_until_seen(publisher, compressed_of(whole, 0), masks)
    for cut, reason in ((whole[: len(whole) // 2], "corrupt_compressed"), (b"GIF89a..", "unknown_format")):
        ros.until(
            lambda cut=cut, reason=reason: publisher.publish(compressed_of(cut, 99)) or ros.count(f"failed/{reason}"),
            reason,
        )
        assert ros.level() >= 1
    mask = ros.publish_until_seen(publisher, compressed_of(whole, 1), masks)
    assert pixels_of(mask)[0, 0] == 1 and pixels_of(mask)[-1, -1] == 4


def test_a_bad_parameter_is_refused_with_the_reason_and_a_good_one_is_used(ros: Any, replayed: dict[str, Any]) -> None:
    from rcl_interfaces.srv import DescribeParameters, SetParameters
    from rclpy.parameter import Parameter

    node = ros.start_node(**replayed)
    masks = ros.subscribe(IMAGE, "segmentation/mask")

    def set_to(name: str, value: Any) -> Any:
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return ros.call(SetParameters, "/segmentation/set_parameters", request).results[0]

    for name, value, reason in (
        ("camera.mask_size", [320, 0], "both above 0 or both 0"),
        ("camera.fit", "squeeze", "stretch, crop, pad"),
        ("overlay_opacity", 3.0, "overlay_opacity"),
        ("jpeg_quality", "high", "expected int"),
        ("threads", 1, "read-only"),
    ):
        result = set_to(name, value)
        assert not result.successful and reason in result.reason, (name, result.reason)
    assert set_to("deadline_ms", 100).successful  # an integer for a double
    assert set_to("camera.mask_size", [64, 48]).successful
    mask = ros.publish_until_seen(ros.publisher(IMAGE, "image"), image_of(picture(2), 2), masks)
    assert (mask.width, mask.height) == (64, 48)
    ros.until(lambda: ros.count("late") and ros.level() == 1, "the mask, years old, counts as late")
    names = ["overlay_opacity", "threads"]
    request = DescribeParameters.Request(names=names)
    described = ros.call(DescribeParameters, "/segmentation/describe_parameters", request)
    opacity, threads = described.descriptors
    assert opacity.description and not opacity.read_only and opacity.floating_point_range[0].to_value == 1.0
    assert threads.read_only and threads.integer_range[0].to_value == 256
    assert node.running and "Traceback" not in node.text


def _spoilt(tiny: bytes, how: str) -> bytes:
    return tiny[: len(tiny) // 2] if how == "truncated" else tiny.replace(b"sixteen", b"sixteem", 1)


@pytest.mark.parametrize("how", ["missing", "truncated", "tampered"])
def test_a_model_that_cannot_be_used_ends_it_with_an_error(
    how: str, ros_environment: None, tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    path = tiny_model()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(_spoilt(path.read_bytes(), how))
    node = start_alone(tmp_path, model=path)
    assert node.wait() == 1
    assert str(path) in node.text and "Traceback" not in node.text and "ERROR" in node.text


@pytest.mark.parametrize(
    ("parameters", "code", "said"),
    [
        ({"threads": "many"}, 1, "threads: expected int"),
        ({"overlay_opacity": 7.0}, 1, "overlay_opacity: expected 0.0 to 1.0"),
        ({"backend": "tensorrt"}, 1, "not built yet"),
        ({"cameras": "[Front Left]"}, 1, "cameras"),
        ({"threads": ""}, 2, "wrong command line"),
    ],
)
def test_what_cannot_be_used_at_start_ends_it_with_an_error(
    parameters: dict[str, Any], code: int, said: str, ros_environment: None, tmp_path: Path
) -> None:
    node = start_alone(tmp_path, **parameters)
    assert node.wait() == code
    assert said in node.text and "Traceback" not in node.text
