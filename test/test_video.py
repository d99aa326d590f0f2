"""Videos written and read back; what the file says of itself is asked of PyAV, not of our reader."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from seg_perception.errors import BagError
from seg_perception.video import VideoWriter, read_frames

av = pytest.importorskip("av", reason="PyAV is not installed")

COLOURS = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 255),
    (0, 0, 0),
    (128, 64, 128),
    (244, 35, 232),
    (70, 130, 180),
)


def bars(i: int, width: int = 128, height: int = 64) -> np.ndarray:
    """Vertical bars of the palette's strongest colours, moved on by one each frame."""
    columns = [COLOURS[(x // 16 + i) % len(COLOURS)] for x in range(width)]
    return np.broadcast_to(np.array(columns, np.uint8), (height, width, 3)).copy()


def write(path: Path, frames: int = 30, rate_hz: float = 15.0) -> Path:
    with VideoWriter(path, (128, 64), rate_hz) as video:
        for i in range(frames):
            video.write(bars(i))
    return path


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames of `bars` at 15 Hz."""
    return write(tmp_path_factory.mktemp("video") / "bars.mp4")


def test_frames_come_back_in_order_with_their_colours_and_times(sample: Path) -> None:
    frames = list(read_frames(sample))
    assert [stamp for stamp, _ in frames] == [round(i * 1e9 / 15) for i in range(30)]
    for i, (_, rgb) in enumerate(frames):
        assert rgb.dtype == np.uint8
        assert rgb.shape == (64, 128, 3)
        # The middle of each bar: colour is stored at half the resolution, so edges bleed. 8-bit limited-range YUV
        # rounds by two or three levels, the quantiser adds a few; the wrong matrix would be 40 off, a swap 255.
        error = np.abs(rgb[:, 8::16].astype(int) - bars(i)[:, 8::16])
        assert error.max() <= 12
        assert error.mean() <= 3


def test_the_file_is_what_browsers_play(sample: Path) -> None:
    with av.open(str(sample)) as file:
        stream = file.streams.video[0]
        codec = stream.codec_context
        assert (codec.name, codec.profile, codec.pix_fmt) == ("h264", "High", "yuv420p")
        assert (stream.width, stream.height, stream.frames) == (128, 64, 30)
        assert stream.average_rate == 15
        assert float(stream.duration * stream.time_base) == 2.0
        assert (codec.colorspace, codec.color_range) == (6, 1)  # said, not left to a guess: BT.601, limited range
    data = sample.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")  # plays before it has come down whole


@pytest.mark.parametrize("rate_hz", [1.0, 7.5, 29.97, 60.0])
def test_the_rate_is_kept(tmp_path: Path, rate_hz: float) -> None:
    stamps = [stamp for stamp, _ in read_frames(write(tmp_path / "v.mp4", 12, rate_hz))]
    np.testing.assert_allclose(stamps, np.arange(12) * 1e9 / rate_hz, atol=12 * 1e9 / 90_000)


def test_stamps_decide_when_a_frame_is_shown(tmp_path: Path) -> None:
    start = 1_700_000_000_123_456_789
    offsets_ms = (0, 70, 130, 400, 410, 1500)
    with VideoWriter(tmp_path / "v.mp4", (128, 64), 15) as video:
        for i, offset in enumerate(offsets_ms):
            video.write(bars(i), start + offset * 1_000_000)
    stamps = [stamp for stamp, _ in read_frames(tmp_path / "v.mp4")]
    np.testing.assert_allclose(stamps, np.array(offsets_ms) * 1e6, atol=2e9 / 90_000)


def test_stamps_that_stand_still_or_go_back_lose_no_frame(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", (128, 64), 10) as video:
        video.write(bars(0))
        for i, stamp_ms in enumerate((5000, 5000, 4000, 5300)):
            video.write(bars(i + 1), stamp_ms * 1_000_000)
    frames = list(read_frames(tmp_path / "v.mp4"))
    stamps = [stamp for stamp, _ in frames]
    assert len(stamps) == 5
    assert stamps == sorted(set(stamps))
    np.testing.assert_allclose(stamps, np.array((0, 100, 100, 100, 400)) * 1e6, atol=5e4)


@pytest.mark.parametrize("size_wh", [(127, 64), (128, 63), (33, 35), (1, 1)])
def test_odd_sizes_grow_by_one_with_the_edge_repeated(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    picture = np.full((height, width, 3), (200, 90, 40), np.uint8)
    with VideoWriter(tmp_path / "v.mp4", size_wh, 10) as video:
        video.write(picture)
    ((_, rgb),) = read_frames(tmp_path / "v.mp4")
    assert rgb.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(rgb.astype(int) - (200, 90, 40)).max() <= 8  # padding too: a black column would be 200 off


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"an older one")
    with VideoWriter(path, (128, 64), 15) as video:
        video.write(bars(0))
        assert path.read_bytes() == b"an older one"
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]
    assert len(list(read_frames(path))) == 1
    with pytest.raises(ValueError, match="closed"):
        video.write(bars(1))
    video.close()


def test_what_was_written_before_an_interruption_plays(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "v.mp4", (128, 64), 15) as video:
        for i in range(5):
            video.write(bars(i))
        raise KeyboardInterrupt
    assert len(list(read_frames(tmp_path / "v.mp4"))) == 5


def test_no_frames_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", (128, 64), 15):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_writer_says_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="cannot write a video here"):
        VideoWriter(tmp_path / "missing" / "v.mp4", (128, 64), 15)
    for size_wh, rate_hz in (((0, 64), 15), ((128, 64), 0), ((128, 64), float("nan"))):
        with pytest.raises(ValueError, match="above 0"):
            VideoWriter(tmp_path / "v.mp4", size_wh, rate_hz)
    video = VideoWriter(tmp_path / "v.mp4", (128, 64), 15)
    with pytest.raises(ValueError, match=r"rgb must be uint8 \[64, 128, 3\]"):
        video.write(bars(0, width=64))
    video.close()


def write_other(path: Path, codec: str, pixel_format: str, first_pts: int) -> None:
    """10 frames at 10 Hz that VideoWriter had no part in."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 128, 64, pixel_format, 4_000_000
        for i in range(10):
            frame = av.VideoFrame.from_ndarray(bars(i), format="rgb24")
            frame.pts, frame.time_base = first_pts + i, Fraction(1, 10)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def test_another_codec_and_a_clock_that_does_not_start_at_zero(tmp_path: Path) -> None:
    write_other(tmp_path / "v.mkv", "mpeg4", "yuv420p", first_pts=50)
    frames = list(read_frames(tmp_path / "v.mkv"))
    assert [stamp for stamp, _ in frames] == [i * 100_000_000 for i in range(10)]
    assert all(np.abs(rgb[:, 8::16].astype(int) - bars(i)[:, 8::16]).mean() < 8 for i, (_, rgb) in enumerate(frames))


def test_half_a_picture_is_not_handed_on(tmp_path: Path) -> None:
    """A Motion JPEG decoder makes a picture of whatever there is."""
    write_other(tmp_path / "whole.avi", "mjpeg", "yuvj420p", first_pts=0)
    with av.open(str(tmp_path / "whole.avi")) as file:
        starts = sorted((packet.pos, packet.size) for packet in file.demux(video=0) if packet.size)
    position, size = starts[6]
    (tmp_path / "v.avi").write_bytes((tmp_path / "whole.avi").read_bytes()[: position + size // 2])
    frames, error = frames_before_error(tmp_path / "v.avi")
    assert len(frames) == 6
    assert "cut short" in error


@pytest.mark.parametrize(
    "content", [None, b"", b"no video\n" * 99, bytes(range(256)) * 99], ids=("missing", "empty", "text", "bytes")
)
@pytest.mark.parametrize("name", ["v.mp4", "v.txt"])
def test_what_is_no_video_is_refused_before_the_first_frame(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BagError, match="video"):
        read_frames(tmp_path / name)


def test_neither_a_folder_nor_an_address_nor_a_sound_is_a_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "tone.wav"), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        file.mux(stream.encode(sound))
    for path in (tmp_path, "http://127.0.0.1:9/v.mp4", tmp_path / "tone.wav"):
        with pytest.raises(BagError, match="expected"):
            read_frames(path)


def frames_before_error(path: Path) -> tuple[list[tuple[int, np.ndarray]], str]:
    """What a video gives until it raises, and what it says then."""
    frames = []
    with pytest.raises(BagError) as caught:
        for frame in read_frames(path):
            frames.append(frame)
    return frames, str(caught.value)


@pytest.mark.parametrize("kept", [0.5, 0.9, 0.999])
def test_a_truncated_video_gives_its_frames_and_then_an_error(sample: Path, tmp_path: Path, kept: float) -> None:
    data = sample.read_bytes()
    start = data.index(b"mdat")
    (tmp_path / "v.mp4").write_bytes(data[: start + round((len(data) - start) * kept)])
    frames, error = frames_before_error(tmp_path / "v.mp4")
    assert "truncated" in error
    assert 0 < len(frames) < 30
    assert np.abs(frames[0][1][:, 8::16].astype(int) - bars(0)[:, 8::16]).max() <= 12


def test_a_video_cut_between_two_frames_is_found_too(sample: Path, tmp_path: Path) -> None:
    with av.open(str(sample)) as file:
        ends = sorted(packet.pos + packet.size for packet in file.demux(video=0) if packet.size)
    (tmp_path / "v.mp4").write_bytes(sample.read_bytes()[: ends[14]])
    frames, error = frames_before_error(tmp_path / "v.mp4")
    assert len(frames) == 15
    assert "15 of 30 frames" in error


def test_a_video_cut_before_its_pictures_is_refused_at_once(sample: Path, tmp_path: Path) -> None:
    data = sample.read_bytes()
    for length in (data.index(b"moov") - 4, data.index(b"moov") + 40):
        (tmp_path / "v.mp4").write_bytes(data[:length])
        with pytest.raises(BagError, match="not a video|no video"):
            read_frames(tmp_path / "v.mp4")
