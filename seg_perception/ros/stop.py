"""SIGINT and SIGTERM as one request to stop, noticed at once whatever the main thread is doing."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable

__all__ = ["StopRequest"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Turns the signals into a flag and a wake-up call.

    Python runs signal handlers in the main thread only, between two of its own instructions, which it may
    not reach for long while it waits in the middleware or loads a model. So a thread of its own listens. If
    the process is still there after the grace period, that thread ends it.

    Args:
        grace_s: time for an orderly end, seconds.
    """

    def __init__(self, grace_s: float = 1.5) -> None:
        self._grace_s = grace_s
        self._requested, self._finished = threading.Event(), threading.Event()
        self._wake: Callable[[], None] = lambda: None
        self._listener, self._signalled = socket.socketpair()

    def install(self) -> None:
        """Take over the signals; to be called once, from the main thread, as early as possible."""
        self._signalled.setblocking(False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)  # what counts is the byte that Python writes beside it
        signal.set_wakeup_fd(self._signalled.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._listen, name="stop", daemon=True).start()

    def on_request(self, wake: Callable[[], None]) -> None:
        """Call this, from another thread, when a stop is requested; at once if it has been already."""
        self._wake = wake
        if self.requested:
            wake()

    @property
    def requested(self) -> bool:
        """Whether somebody asked to stop."""
        return self._requested.is_set()

    def wait(self, timeout_s: float) -> None:
        """Sleep, but no longer than until a stop is requested."""
        self._requested.wait(timeout_s)

    def finished(self) -> None:
        """The orderly end has come: nobody needs to be ended by force."""
        signal.set_wakeup_fd(-1)
        self._finished.set()

    def _listen(self) -> None:
        number = 0
        while number not in _SIGNALS:
            number = self._listener.recv(1)[0]
        self._requested.set()
        with contextlib.suppress(Exception):  # what it wakes may be on its way out by itself
            self._wake()
        if not self._finished.wait(self._grace_s):
            os._exit(128 + number)
