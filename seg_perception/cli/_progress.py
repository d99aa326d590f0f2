"""Progress on stderr: one live line on a terminal, a line every few seconds elsewhere; nothing for what is quick."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import TextIO

__all__ = ["Progress", "duration_text"]

_LIVE_PERIOD_S = 0.1
_LOG_PERIOD_S = 5.0
_QUIET_S = 1.0


def duration_text(seconds: float) -> str:
    """`4 s`, `3:07` or `1:02:45`."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class Progress:
    """Count, share, rate and time left of something that takes a while. A context manager.

    Args:
        label: what is being done, `segmenting`.
        total: how much there is to do; None if nobody knows.
        unit: of the count, `frames`.
        stream: where to; stderr if None.
    """

    def __init__(self, label: str, total: int | None = None, unit: str = "", stream: TextIO | None = None) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._start = self._last = time.monotonic()
        self._said_done = 0
        self._shown = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def update(self, done: int) -> None:
        """So much is done in all."""
        self.done = done
        now = time.monotonic()
        period = _LIVE_PERIOD_S if self._live else _LOG_PERIOD_S
        if now - self._last >= period and now - self._start >= _QUIET_S:
            self._last = now
            self._show(now)

    def advance(self, count: int = 1) -> None:
        """So much more is done."""
        self.update(self.done + count)

    def note(self, text: str) -> None:
        """A line of its own, above the live one."""
        self._clear()
        self._write(f"{text}\n")

    def close(self) -> None:
        """End the live line; say where it ended if anything was said before."""
        if not self._shown:
            return
        if self._live or self.done != self._said_done:
            self._show(time.monotonic())
        if self._live:
            self._write("\n")
        self._shown = False

    def text(self, elapsed_s: float) -> str:
        """The line, `segmenting: 120 of 300 frames (40 %), 24.1/s, 8 s left`."""
        count = str(self.done) if self.total is None else f"{self.done} of {self.total}"
        parts = [f"{count} {self.unit}".rstrip()]
        if self.total:
            parts[0] += f" ({100 * self.done // self.total} %)"
        rate = self.done / elapsed_s if elapsed_s > 0 else 0.0
        if self.done:
            parts.append(f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each" if rate > 0 else "")
        if self.total and 0 < self.done < self.total and rate > 0:
            parts.append(f"{duration_text((self.total - self.done) / rate)} left")
        else:
            parts.append(duration_text(elapsed_s))
        return f"{self.label}: {', '.join(part for part in parts if part)}"

    def _show(self, now: float) -> None:
        text = self.text(now - self._start)
        self._said_done = self.done
        self._shown = True
        if self._live:
            self._write(f"\r\x1b[2K{text[: shutil.get_terminal_size().columns - 1]}")
        else:
            self._write(f"{text}\n")

    def _clear(self) -> None:
        if self._live and self._shown:
            self._write("\r\x1b[2K")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # a closed pipe or terminal must not end the work
            self._live = False
