"""The one thread that runs the model, for all cameras in turn."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any

from seg_perception.errors import BackendError, FrameError
from seg_perception.pipeline import Pipeline
from seg_perception.ros.newest import NewestFrames
from seg_perception.ros.stream import CameraStream, Waiting

__all__ = ["ErrorLog", "InferenceThread"]


class ErrorLog:
    """Reports what fails again and again, but not thirty times a second.

    Args:
        logger: of the node.
        period_s: shortest time between two lines of the same kind.
    """

    def __init__(self, logger: Any, period_s: float = 5.0) -> None:
        self._logger, self._period_s = logger, period_s
        self._last_s: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}
        self._explained: set[str] = set()

    def report(self, kind: str, text: str) -> None:
        """Log an error of this kind, or count it for the next line."""
        now_s = time.monotonic()
        if now_s - self._last_s.get(kind, -self._period_s) < self._period_s:
            self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
            return
        self._last_s[kind] = now_s
        more = self._unsaid.pop(kind, 0)
        self._logger.error(f"{text} ({more} more of this kind since the last line)" if more else text)

    def explain(self, exc: Exception) -> None:
        """Log the traceback of an error that nobody foresaw, once for each place it comes from."""
        frames = traceback.extract_tb(exc.__traceback__)
        place = f"{type(exc).__name__} {frames[-1].filename}:{frames[-1].lineno}" if frames else type(exc).__name__
        if place not in self._explained:
            self._explained.add(place)
            self._logger.error("".join(traceback.format_exception(type(exc), exc, exc.__traceback__)))


class InferenceThread:
    """Takes the newest frames of all cameras in turn and processes them, whatever fails.

    Args:
        pipeline: used by this thread alone until `stop` returns.
        streams: the cameras, by name.
        logger: of the node.
    """

    def __init__(self, pipeline: Pipeline, streams: Mapping[str, CameraStream], logger: Any) -> None:
        self._pipeline, self._streams = pipeline, streams
        self._errors = ErrorLog(logger)
        self._frames: NewestFrames[Waiting] = NewestFrames(tuple(streams))
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)

    def start(self) -> None:
        """Begin to process and to listen."""
        self._thread.start()
        for stream in self._streams.values():
            stream.listen(self._frames.put)

    def stop(self) -> None:
        """Stop listening, let the frame that is being processed finish, and give the pipeline back."""
        for stream in self._streams.values():
            stream.mute()
        for camera in self._frames.close():
            self._streams[camera].monitor.dropped()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            taken = self._frames.take()
            if taken is None:
                return
            self._process(*taken)

    def _process(self, camera: str, waiting: Waiting) -> None:
        stream = self._streams[camera]
        stream.busy_since_s = time.monotonic()
        try:
            stream.process(waiting, self._pipeline)
        except FrameError as exc:
            self._failed(stream, exc.reason, exc)
        except BackendError as exc:
            self._failed(stream, "backend", exc)
        except Exception as exc:  # the node must outlive whatever one frame brings
            self._failed(stream, "internal", exc)
            self._errors.explain(exc)
        stream.busy_since_s = None

    def _failed(self, stream: CameraStream, reason: str, exc: Exception) -> None:
        stream.last_error = f"{reason}: {str(exc) or type(exc).__name__}"
        stream.monitor.failed(reason)
        self._errors.report(f"{stream.name} {reason}", f"{stream.name}: image refused: {stream.last_error}")
