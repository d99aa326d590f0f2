"""The newest frame of every camera, handed to one consumer in turn."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Generic, TypeVar

__all__ = ["NewestFrames"]

T = TypeVar("T")


class NewestFrames(Generic[T]):
    """One slot for each camera. A frame that was not fetched in time is replaced, never queued.

    Cameras take turns: one that is fast does not starve the others.
    """

    def __init__(self, cameras: Sequence[str]) -> None:
        self._cameras = tuple(cameras)
        self._slots: dict[str, T] = {}
        self._changed = threading.Condition()
        self._turn = 0
        self._closed = False

    def put(self, camera: str, frame: T) -> bool:
        """Leave a frame; True if one was lost by it: an older one that waited, or this one after `close`."""
        if camera not in self._cameras:
            raise KeyError(f"no slot for camera {camera!r}; there are {', '.join(self._cameras)}")
        with self._changed:
            if self._closed:
                return True
            replaced = camera in self._slots
            self._slots[camera] = frame
            self._changed.notify()
            return replaced

    def take(self) -> tuple[str, T] | None:
        """Wait for a frame; None once closed."""
        with self._changed:
            while not (self._slots or self._closed):
                self._changed.wait()
            if self._closed:
                return None
            while self._cameras[self._turn] not in self._slots:
                self._turn = (self._turn + 1) % len(self._cameras)
            camera = self._cameras[self._turn]
            self._turn = (self._turn + 1) % len(self._cameras)
            return camera, self._slots.pop(camera)

    def close(self) -> list[str]:
        """End every `take`; the cameras whose frames were still waiting."""
        with self._changed:
            self._closed = True
            left = list(self._slots)
            self._slots.clear()
            self._changed.notify_all()
            return left
