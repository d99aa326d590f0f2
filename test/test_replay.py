"""`seg_perception replay`, through the command line, on bags of a few tiny images."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bags import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    DEFINITIONS,
    IMAGE,
    QOS,
    STRING,
    UNKNOWN,
    Message,
    Reader,
    cdr_camera_info,
    cdr_compressed,
    cdr_image,
    cdr_string,
    message,
    read_image,
    read_mcap,
    write_mcap,
    write_sqlite,
)
from support import nearest

pytest.importorskip("rosbags", reason="bags need rosbags")
reader_module = pytest.importorskip("mcap.reader", reason="bags are checked with the mcap package")

from seg_perception.cli import main
from seg_perception.labels import CITYSCAPES
from seg_perception.pipeline import Pipeline
from seg_perception.types import Frame, Perception

RNG = np.random.default_rng(9)
HEIGHT, WIDTH = 12, 16
PERIOD_NS = 100_000_000
FRAMES = 6
ALL = {
    "mask", "confidence", "overlay", "overlay/compressed", "mask/compressed", "drivable/mask", "panoptic", "detections",
    "label_info",
}  # fmt: skip
"""What is written without a camera's place."""


def stamp_ns(index: int) -> int:
    return 1_700_000_000_000_000_001 + index * PERIOD_NS


class Scene:
    """A bag with true masks beside it."""

    def __init__(self, folder: Path) -> None:
        self.masks_folder = folder / "masks"
        self.masks_folder.mkdir()
        self.pixels = [RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(FRAMES)]
        self.masks = [RNG.integers(0, 19, (HEIGHT, WIDTH), np.uint8) for _ in range(FRAMES)]
        for i, mask in enumerate(self.masks):
            cv2.imwrite(str(self.masks_folder / f"{stamp_ns(i)}.png"), mask)
        self.images = [
            message("/cam/image_raw", IMAGE, stamp_ns(i) + 5000, cdr_image(stamp_ns(i), p), stamp_ns(i) + 3000, i + 1)
            for i, p in enumerate(self.pixels)
        ]
        self.others = [
            message("/cam/camera_info", CAMERA_INFO, m.log_ns + 1, cdr_camera_info(stamp_ns(i), WIDTH, HEIGHT, 10.0))
            for i, m in enumerate(self.images)
        ]
        self.others += [message("/chatter", STRING, m.log_ns - 9, cdr_string(f"{m.log_ns}")) for m in self.images]
        self.others += [message("/secret", UNKNOWN, stamp_ns(2), RNG.bytes(77), stamp_ns(1), 99)]
        self.path = folder / "in.mcap"
        self.output = folder / "out.mcap"

    def messages(self) -> list[Message]:
        return sorted([*self.images, *self.others], key=lambda m: m.log_ns)

    def write(self) -> None:
        write_mcap(self.path, self.messages())

    def replay(self, *options: str, code: int = 0) -> list[Message]:
        if not self.path.exists():
            self.write()
        backend = ("--param", "backend=replayed", "--param", f"replay_masks={self.masks_folder}")
        assert main(["replay", str(self.path), "-o", str(self.output), *backend, *options]) == code
        return read_mcap(self.output) if self.output.exists() else []


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def of(messages: list[Message], topic: str) -> list[Message]:
    return [m for m in messages if m.topic == topic]


def test_masks_are_the_true_ones(scene: Scene) -> None:
    out = scene.replay()
    masks = of(out, "/segmentation/mask")
    assert [m.log_ns for m in masks] == [m.log_ns for m in scene.images]
    for i, m in enumerate(masks):
        seen = read_image(m.data)
        assert (m.type_name, seen.stamp_ns, seen.frame_id, seen.encoding) == (IMAGE, stamp_ns(i), "cam", "mono8")
        np.testing.assert_array_equal(seen.pixels[..., 0], scene.masks[i])
    for m in of(out, "/segmentation/confidence"):
        np.testing.assert_array_equal(read_image(m.data).pixels, 255)


def test_compressed_masks_are_lossless(scene: Scene) -> None:
    for i, m in enumerate(of(scene.replay(), "/segmentation/mask/compressed")):
        cdr = Reader(m.data)
        assert (cdr.header(), cdr.string()) == ((stamp_ns(i), "cam"), "mono8; png compressed ")
        decoded = cv2.imdecode(np.frombuffer(cdr.octets(), np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(decoded, scene.masks[i])


def test_overlays_are_colour_over_camera(scene: Scene) -> None:
    out = scene.replay("--param", "overlay_opacity=1.0")
    for i, m in enumerate(of(out, "/segmentation/overlay")):
        seen = read_image(m.data)
        assert (seen.encoding, seen.stamp_ns) == ("rgb8", stamp_ns(i))
        np.testing.assert_allclose(seen.pixels.astype(int), CITYSCAPES.palette[scene.masks[i]], atol=2)


def test_compressed_overlays_are_jpeg(scene: Scene) -> None:
    for i in range(FRAMES):  # one class all over: JPEG keeps a plain colour, and the order of its channels shows
        cv2.imwrite(str(scene.masks_folder / f"{stamp_ns(i)}.png"), np.full((HEIGHT, WIDTH), i + 11, np.uint8))
    out = scene.replay("--param", "overlay_opacity=1.0")
    for i, m in enumerate(of(out, "/segmentation/overlay/compressed")):
        cdr = Reader(m.data)
        assert (m.type_name, cdr.header(), cdr.string()) == (
            COMPRESSED_IMAGE, (stamp_ns(i), "cam"), "rgb8; jpeg compressed bgr8"
        )  # fmt: skip
        bgr = cv2.imdecode(np.frombuffer(cdr.octets(), np.uint8), cv2.IMREAD_COLOR)
        assert bgr is not None and bgr.shape == (HEIGHT, WIDTH, 3)
        np.testing.assert_allclose(bgr[..., ::-1].astype(int), np.full_like(bgr, CITYSCAPES.palette[i + 11]), atol=6)


def test_label_info_comes_first_once_and_latched(scene: Scene) -> None:
    out = scene.replay()
    infos = of(out, "/segmentation/label_info")
    assert len(infos) == 1 and infos[0].log_ns == min(m.log_ns for m in out)
    cdr = Reader(infos[0].data)
    cdr.header()
    names = {}
    for _ in range(cdr.get("I")):
        class_id = cdr.get("H")
        names[class_id] = cdr.string()
    assert names == {label.id: label.name for label in CITYSCAPES}
    assert cdr.get("f") == 0.0
    with scene.output.open("rb") as file:
        summary = reader_module.make_reader(file).get_summary()
    qos = {c.topic: c.metadata["offered_qos_profiles"] for c in summary.channels.values()}
    assert "durability: 1\n" in qos["/segmentation/label_info"]
    assert "durability: 2\n" in qos["/segmentation/mask"] and "reliability: 1\n" in qos["/segmentation/mask"]


def test_all_else_is_kept_byte_for_byte(scene: Scene) -> None:
    out = scene.replay()
    kept = [m for m in out if not m.topic.startswith("/segmentation/")]
    assert sorted(kept) == sorted(scene.messages())
    with scene.output.open("rb") as file:
        summary = reader_module.make_reader(file).get_summary()
    channels = {c.topic: c for c in summary.channels.values()}
    assert channels["/secret"].metadata == {"offered_qos_profiles": QOS, "topic_type_hash": "RIHS01_00"}
    assert summary.schemas[channels["/secret"].schema_id].data == DEFINITIONS[UNKNOWN].encode()
    assert {c.topic for c in summary.channels.values()} == {m.topic for m in scene.messages()} | {
        f"/segmentation/{name}" for name in ALL
    }


def test_others_decode_it_with_the_definitions_in_it(scene: Scene) -> None:
    decoder = pytest.importorskip("mcap_ros2.decoder", reason="needs mcap-ros2-support")
    scene.others = [m for m in scene.others if m.type_name == STRING]
    scene.replay()
    with scene.output.open("rb") as file:
        reader = reader_module.make_reader(file, decoder_factories=[decoder.DecoderFactory()])
        seen = {c.topic: message for _, c, _, message in reader.iter_decoded_messages()}
    assert seen["/segmentation/label_info"].class_map[13].class_name == "car"
    assert (seen["/segmentation/mask"].width, seen["/segmentation/mask"].encoding) == (WIDTH, "mono8")


def test_two_runs_give_the_same_file(scene: Scene) -> None:
    scene.replay()
    first = scene.output.read_bytes()
    scene.replay("--force")
    assert scene.output.read_bytes() == first


def test_results_do_not_depend_on_the_storage(scene: Scene) -> None:
    out = scene.replay()
    scene.path = scene.path.with_suffix(".db3")
    write_sqlite(scene.path, scene.messages(), jazzy=False)
    again = scene.replay("--force")
    for name in ALL:
        topic = f"/segmentation/{name}"
        assert of(out, topic) == of(again, topic)
    assert [m.data for m in of(again, "/secret")] == [m.data for m in of(out, "/secret")]
    with scene.output.open("rb") as file:
        summary = reader_module.make_reader(file).get_summary()
    schemas = {s.name: s for s in summary.schemas.values()}
    assert schemas[STRING].data.decode().strip() == "string data" and schemas[STRING].encoding == "ros2msg"
    assert (schemas[UNKNOWN].data, schemas[UNKNOWN].encoding) == (b"", "")


def test_mask_size_brings_a_scaled_camera_info(scene: Scene) -> None:
    out = scene.replay("--param", "camera.mask_size=[8, 6]")
    infos = of(out, "/segmentation/camera_info")
    assert len(infos) == FRAMES
    cdr = Reader(infos[0].data)
    assert (cdr.header(), cdr.get("I"), cdr.get("I")) == ((stamp_ns(0), "cam"), 6, 8)
    for i, m in enumerate(of(out, "/segmentation/mask")):
        np.testing.assert_array_equal(read_image(m.data).pixels[..., 0], nearest(scene.masks[i], 6, 8))


def test_compressed_images_give_the_same_masks(scene: Scene) -> None:
    out = scene.replay()
    scene.images = [
        m._replace(
            topic="/cam/image_raw/compressed",
            type_name=COMPRESSED_IMAGE,
            data=cdr_compressed(stamp_ns(i), "png", bytes(cv2.imencode(".png", scene.pixels[i])[1])),
        )
        for i, m in enumerate(scene.images)
    ]
    scene.write()
    again = scene.replay("--force")
    for name in ALL:
        assert of(out, f"/segmentation/{name}") == of(again, f"/segmentation/{name}")


def test_real_model(scene: Scene, tiny_model: Callable[..., Path]) -> None:
    """Class = red // 16 at every second pixel, as conftest's model has it."""
    pytest.importorskip("onnxruntime")
    shown = RNG.integers(0, 256, (64, 128, 3), np.uint8)
    write_mcap(scene.path, [message("/image", IMAGE, 5, cdr_image(3, shown, "rgb8"))])
    model = tiny_model(height=64, width=128)
    assert main(["replay", str(scene.path), "-o", str(scene.output), "--model", str(model)]) == 0
    seen = {m.topic: read_image(m.data).pixels[..., 0] for m in read_mcap(scene.output) if m.type_name == IMAGE}
    np.testing.assert_array_equal(seen["/segmentation/mask"], nearest(shown[::2, ::2, 0] // 16, 64, 128))
    np.testing.assert_array_equal(seen["/segmentation/confidence"], nearest(shown[::2, ::2, 1], 64, 128))


def test_bad_frames_are_counted_and_the_others_processed(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    scene.images[1] = scene.images[1]._replace(data=scene.images[1].data[:60])
    scene.images[2] = scene.images[2]._replace(data=cdr_image(stamp_ns(2), scene.pixels[2], "rgb9"))
    scene.images[3] = scene.images[3]._replace(data=cdr_image(stamp_ns(3) + 1, scene.pixels[3]))  # no mask for it
    bad_stamp = bytearray(scene.images[4].data)
    bad_stamp[4:12] = b"\xff\xff\xff\x7f\xff\xff\xff\xff"
    scene.images[4] = scene.images[4]._replace(data=bytes(bad_stamp))
    out = scene.replay()
    assert [m.log_ns for m in of(out, "/segmentation/mask")] == [scene.images[i].log_ns for i in (0, 5)]
    assert of(out, "/cam/image_raw") == scene.images, "what cannot be used is kept all the same"
    printed = capsys.readouterr().out
    assert "6 images read from /cam/image_raw, 2 published, 4 failed" in printed
    for reason in ("1 x cdr: ", "1 x unknown_encoding: ", "2 x backend: no recorded mask"):
        assert reason in printed


def test_stamp_that_no_clock_has_is_counted(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """Seconds and nanoseconds at their limits make a time that does not fit a stamp again."""
    stamp = struct.pack("<iI", 2**31 - 1, 2**32 - 1)
    scene.images[2] = scene.images[2]._replace(data=b"\0\1\0\0" + stamp + scene.images[2].data[12:])
    number = (2**31 - 1) * 10**9 + 2**32 - 1
    cv2.imwrite(str(scene.masks_folder / f"{number}.png"), scene.masks[2])
    out = scene.replay()
    assert len(of(out, "/segmentation/mask")) == FRAMES - 1
    assert "1 x serialize: " in capsys.readouterr().out


def test_error_that_nobody_foresaw_costs_one_frame(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    process = Pipeline.process
    calls = itertools.count()

    def sometimes(self: Pipeline, frame: Frame, *rest: Any) -> Perception:
        if next(calls) in (1, 2):
            raise ZeroDivisionError("oh")
        return process(self, frame, *rest)

    monkeypatch.setattr(Pipeline, "process", sometimes)
    assert len(of(scene.replay(), "/segmentation/mask")) == FRAMES - 2
    assert "2 x internal: oh" in capsys.readouterr().out
    assert caplog.text.count("ZeroDivisionError: oh") == 1


def test_not_one_result_is_an_error(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    scene.images = [m._replace(data=b"\0\1\0\0") for m in scene.images]
    scene.replay(code=1)
    assert "0 published, 6 failed" in capsys.readouterr().out


def test_cut_bag_is_replayed_as_far_as_it_is_whole(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    write_mcap(scene.path, scene.messages(), chunk_size=1500)
    data = scene.path.read_bytes()
    scene.path.write_bytes(data[: data.index(b"\x0f\x04" + bytes(7)) * 2 // 3])
    masks = of(scene.replay(), "/segmentation/mask")
    assert 2 <= len(masks) < FRAMES
    assert [m.log_ns for m in masks] == [m.log_ns for m in scene.images[: len(masks)]]
    assert "lost in the input:" in capsys.readouterr().out


def test_limit(scene: Scene) -> None:
    out = scene.replay("--limit", "2")
    assert len(of(out, "/segmentation/mask")) == 2
    kept = [m for m in out if not m.topic.startswith("/segmentation/")]
    assert sorted(kept) == sorted(m for m in scene.messages() if m.log_ns < scene.images[2].log_ns)


def test_chosen_outputs_and_prefix(scene: Scene) -> None:
    out = scene.replay("--outputs", "mask,label_info", "--prefix", "seg/v2/")
    assert {m.topic for m in out} - {m.topic for m in scene.messages()} == {"/seg/v2/mask", "/seg/v2/label_info"}


def test_input_can_be_left_out(scene: Scene) -> None:
    without_images = scene.replay("--drop-input")
    assert {m.topic for m in without_images} & {m.topic for m in scene.messages()} == {
        "/cam/camera_info", "/chatter", "/secret"
    }  # fmt: skip
    alone = scene.replay("--only-outputs", "--force")
    assert {m.topic for m in alone} == {f"/segmentation/{name}" for name in ALL}
    assert of(alone, "/segmentation/mask") == of(without_images, "/segmentation/mask")


def test_results_of_an_earlier_run_are_not_mixed_with_new_ones(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.replay()
    again = scene.output.with_name("again.mcap")
    backend = ["--param", "backend=replayed", "--param", f"replay_masks={scene.masks_folder}"]
    assert main(["replay", str(scene.output), "-o", str(again), *backend]) == 1
    assert "/segmentation/confidence already" in capsys.readouterr().err and not again.exists()
    assert main(["replay", str(scene.output), "-o", str(again), *backend, "--prefix", "/new"]) == 0
    assert len(of(read_mcap(again), "/new/mask")) == len(of(read_mcap(again), "/segmentation/mask")) == FRAMES


def test_nothing_is_overwritten_unasked(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    scene.write()
    scene.output.write_bytes(b"precious")
    backend = ["--param", "backend=replayed", "--param", f"replay_masks={scene.masks_folder}"]
    assert main(["replay", str(scene.path), "-o", str(scene.output), *backend]) == 1
    assert "--force" in capsys.readouterr().err and scene.output.read_bytes() == b"precious"
    before = scene.path.read_bytes()
    assert main(["replay", str(scene.path), "-o", str(scene.path), "--force", *backend]) == 1
    assert "is the input itself" in capsys.readouterr().err and scene.path.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        "/**:\n  ros__parameters:\n    use_sim_time: true\n    camera:\n      mask_size: [8, 6]\n    camera.fit: pad\n",
        "segmentation:\n  ros__parameters:\n    camera.mask_size: [8, 6]\n    qos_overrides./x.depth: 3\n",
        "ns: {segmentation: {ros__parameters: {camera: {mask_size: [8, 6]}}}}",
        "camera.mask_size: [8, 6]",
        "camera:\n  mask_size: [8, 6]",
    ],
)
def test_parameter_files(scene: Scene, text: str) -> None:
    (scene.path.parent / "p.yaml").write_text(text)
    out = scene.replay("--params", str(scene.path.parent / "p.yaml"))
    assert read_image(of(out, "/segmentation/mask")[0].data).pixels.shape == (6, 8, 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--param", "fit=crop"], "fit: no such parameter"),
        (["--param", "camera.fit=squash"], "expected one of stretch"),
        (["--param", "camera.fit"], "NAME=VALUE"),
        (["--param", "camera.fit=[a"], "not valid YAML"),
        (["--params", "/no/such/file.yaml"], "No such file"),
        (["--outputs", "masks"], "masks: no such output"),
        (["--outputs", ","], "outputs: expected one or more"),
        (["--limit", "0"], "limit: expected 1 or more"),
        (["--topic", "/nobody"], "its image topics are: /cam/image_raw"),
        (["--param", "backend=tensorrt"], "not built yet"),
    ],
)
def test_wrong_options_are_one_clear_line(
    scene: Scene, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    scene.replay(*options, code=1)
    error = capsys.readouterr().err
    assert words in error and len(error.strip().splitlines()) == 1 and error.startswith("seg_perception: ")
    assert not scene.output.exists() and not list(scene.path.parent.glob(".*"))


def test_wrong_usage(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    scene.write()
    assert main(["replay", str(scene.path)]) == 2
    assert main(["replay", str(scene.path), "-o", str(scene.path.with_suffix(".txt"))]) == 1
    assert main(["replay", str(scene.path.parent / "no.mcap"), "-o", str(scene.output)]) == 1
    assert "no such file or folder" in capsys.readouterr().err
