"""The command line itself: verbs, exit codes, progress."""

from __future__ import annotations

import argparse
import importlib.util
import io
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from seg_perception import __version__, cli
from seg_perception.cli import VERBS, Verb, main
from seg_perception.cli._progress import Progress, duration_text
from seg_perception.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parent.parent


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=REPOSITORY)


def test_help_lists_the_verbs_and_loads_none_of_them() -> None:
    heavy = "('numpy', 'cv2', 'onnxruntime', 'rosbags', 'rclpy')"
    code = "import sys; from seg_perception.cli import main; main(['--help'])"
    code += f"; print([m for m in {heavy} if m in sys.modules])"
    lines = python("-c", code).stdout.splitlines()
    assert lines[-1] == "[]"
    for verb in VERBS:
        assert any(line.split()[:1] == [verb.name] for line in lines)


def test_module_and_version() -> None:
    assert python("-m", "seg_perception", "--version").stdout.strip() == f"seg_perception {__version__}"


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_has_its_file(verb: Verb) -> None:
    assert importlib.util.find_spec(f"seg_perception.cli.{verb.module}") is not None


def fake_verb(monkeypatch: pytest.MonkeyPatch, act: Callable[[argparse.Namespace], int]) -> None:
    module = types.ModuleType("seg_perception.cli.fake")
    module.add_arguments = lambda parser: parser.add_argument("--size", type=int, default=3)  # type: ignore[attr-defined]
    module.run = act  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(cli, "VERBS", (Verb("fake", "for a test", "fake"),))


def test_verb_gets_its_arguments_and_gives_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_verb(monkeypatch, lambda args: int(args.size))
    assert [main(["fake"]), main(["fake", "--size", "7"])] == [3, 7]


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["fake", "--size", "x"], ["fake", "--nonsense"]])
def test_wrong_usage_is_2(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    fake_verb(monkeypatch, lambda args: 0)
    assert main(arguments) == 2


def raising(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def act(args: argparse.Namespace) -> int:
        raise error

    return act


def test_error_is_one_line_and_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fake_verb(monkeypatch, raising(ConfigError("threads: expected 0 to 256,\n  got 999")))
    assert main(["fake"]) == 1
    assert capsys.readouterr().err == "seg_perception: threads: expected 0 to 256, got 999\n"


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fake_verb(monkeypatch, raising(ModuleNotFoundError("No module named 'lz4'", name="lz4")))
    assert main(["fake"]) == 1
    assert "pip install lz4" in capsys.readouterr().err


def test_own_mistakes_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_verb(monkeypatch, raising(ModuleNotFoundError("No module named ...", name="seg_perception.nothing")))
    with pytest.raises(ModuleNotFoundError):
        main(["fake"])


def test_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_verb(monkeypatch, raising(KeyboardInterrupt()))
    assert main(["fake"]) == 130


def test_reader_that_goes_away_is_no_error_of_ours() -> None:
    code = "import sys; from seg_perception.cli import main; sys.exit(main(['models', 'list']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait() == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_text() -> None:
    progress = Progress("segmenting", 300, "frames", io.StringIO())
    progress.done = 120
    assert progress.text(5.0) == "segmenting: 120 of 300 frames (40 %), 24.0/s, 8 s left"
    progress.done = 300
    assert progress.text(75.0) == "segmenting: 300 of 300 frames (100 %), 4.0/s, 1:15"
    unknown = Progress("reading", None, "", io.StringIO())
    unknown.done = 3
    assert unknown.text(6.0) == "reading: 3, 2.0 s each, 6 s"


def test_progress_of_quick_work_says_nothing() -> None:
    for stream in (Terminal(), io.StringIO()):
        with Progress("x", 10, stream=stream) as progress:
            for _ in range(10):
                progress.advance()
        assert stream.getvalue() == ""


def at_times(monkeypatch: pytest.MonkeyPatch, seconds: list[float]) -> None:
    times = iter(seconds)
    monkeypatch.setattr("seg_perception.cli._progress.time.monotonic", lambda: next(times))


def test_progress_is_one_live_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    at_times(monkeypatch, [0.0, 0.5, 2.0, 2.05, 2.2, 4.0])
    stream = Terminal()
    with Progress("x", 4, stream=stream) as progress:
        for done in range(1, 5):
            progress.update(done)
    shown = stream.getvalue().split("\r\x1b[2K")
    assert [part.split(",")[0] for part in shown] == ["", "x: 2 of 4 (50 %)", "x: 4 of 4 (100 %)", "x: 4 of 4 (100 %)"]
    assert stream.getvalue().count("\n") == 1


def test_progress_is_a_line_every_few_seconds_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    at_times(monkeypatch, [0.0, 2.0, 6.0, 8.0, 12.0])
    stream = io.StringIO()
    with Progress("x", 9, stream=stream) as progress:
        for done in range(1, 5):
            progress.update(done)
    assert [line.split(",")[0] for line in stream.getvalue().splitlines()] == ["x: 2 of 9 (22 %)", "x: 4 of 9 (44 %)"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (3600, "1:00:00"), (187, "3:07")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
