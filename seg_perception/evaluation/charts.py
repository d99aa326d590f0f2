"""Plots as SVG text that takes its colours from the page: `--ink`, `--line`, `--accent`, `--warm`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from seg_perception.evaluation.calibration import ReliabilityBins

__all__ = ["histogram", "reliability_diagram", "ticks"]

_WIDTH, _HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 14, 40


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers, multiples of 1, 2 or 5 times a power of ten, from low to high."""
    rough = (high - low) / max(1, count)
    if not (rough > 0 and math.isfinite(rough)):
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


class _Plot:
    """Two linear axes and what is drawn between them."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], height: int = _HEIGHT) -> None:
        self.x_range, self.y_range, self.height = x, y, height
        self.parts: list[str] = []

    def x(self, value: float) -> float:
        low, high = self.x_range
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.height - _BOTTOM - (value - low) / (high - low) * (self.height - _TOP - _BOTTOM)

    def axes(self, x_ticks: dict[float, str], y_ticks: dict[float, str], x_title: str, y_title: str) -> None:
        """Grid lines, numbers and titles."""
        bottom, right = self.height - _BOTTOM, _WIDTH - _RIGHT
        for value, text in y_ticks.items():
            y = self.y(value)
            self.parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            self.parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        for value, text in x_ticks.items():
            self.parts.append(f'<text x="{self.x(value):.1f}" y="{bottom + 16}" text-anchor="middle">{text}</text>')
        middle = (_LEFT + right) / 2
        self.parts.append(f'<text x="{middle:.1f}" y="{self.height - 6}" text-anchor="middle">{x_title}</text>')
        self.parts.append(
            f'<text transform="translate(11 {(_TOP + bottom) / 2:.1f}) rotate(-90)" text-anchor="middle">'
            f"{y_title}</text>"
        )

    def bar(self, x0: float, x1: float, y0: float, y1: float, style: str, title: str = "") -> None:
        """A rectangle between two pairs of values; `title` appears under a pointer."""
        left, right = self.x(x0), self.x(x1)
        top, bottom = self.y(max(y0, y1)), self.y(min(y0, y1))
        inside = f"<title>{title}</title>" if title else ""
        self.parts.append(
            f'<rect class="{style}" x="{left + 0.5:.1f}" y="{top:.1f}" width="{max(0.5, right - left - 1):.1f}" '
            f'height="{max(0.0, bottom - top):.1f}">{inside}</rect>'
        )

    def line(self, x0: float, y0: float, x1: float, y1: float, style: str) -> None:
        ends = f'x1="{self.x(x0):.1f}" y1="{self.y(y0):.1f}" x2="{self.x(x1):.1f}" y2="{self.y(y1):.1f}"'
        self.parts.append(f'<line class="{style}" {ends}/>')

    def note(self, x: float, text: str, left: bool) -> None:
        """A word beside the upper end of a vertical line, on the side that was asked for if there is room."""
        left = (left and self.x(x) > _LEFT + 60) or self.x(x) > _WIDTH - 70
        place = f'x="{self.x(x) + (-4 if left else 4):.1f}" text-anchor="{"end" if left else "start"}"'
        self.parts.append(f'<text class="note" {place} y="{_TOP + 8}">{text}</text>')

    def svg(self, label: str) -> str:
        return f'<svg viewBox="0 0 {_WIDTH} {self.height}" role="img" aria-label="{label}">{"".join(self.parts)}</svg>'


def reliability_diagram(bins: ReliabilityBins) -> str:
    """Accuracy by confidence, the gap to the diagonal, and underneath how many pixels each bin has."""
    edges, total = np.linspace(0, 1, len(bins.count) + 1).tolist(), max(1, int(bins.count.sum()))
    percent = {value: f"{100 * value:.0f}" for value in (0, 0.25, 0.5, 0.75, 1)}
    plot = _Plot((0, 1), (0, 1))
    plot.axes(percent, percent, "confidence, %", "right, %")
    for i, n in enumerate(bins.count):
        if n:
            right, said = float(bins.accuracy[i]), float(bins.confidence[i])
            title = f"said {100 * said:.1f} %, right {100 * right:.1f} %, {100 * n / total:.2f} % of the pixels"
            plot.bar(edges[i], edges[i + 1], 0, min(right, said), "bar", title)
            plot.bar(edges[i], edges[i + 1], min(right, said), max(right, said), "gap", title)
            plot.line(edges[i], right, edges[i + 1], right, "level")
    plot.line(0, 0, 1, 1, "diagonal")
    amounts = _Plot((0, 1), (0, max(0.01, float(bins.count.max()) / total)), 130)
    shares = {value: f"{100 * value:g}" for value in ticks(*amounts.y_range, 3)}
    amounts.axes(percent, shares, "confidence, %", "pixels, %")
    for i, n in enumerate(bins.count):
        amounts.bar(edges[i], edges[i + 1], 0, n / total, "bar", f"{100 * n / total:.2f} % of the pixels")
    return plot.svg("Accuracy by confidence") + amounts.svg("Pixels by confidence")


def histogram(values_ms: Sequence[float], marks: dict[str, float], bins: int = 40) -> str:
    """How often which time was taken, with a vertical line for each mark (`p50` ...)."""
    values = np.asarray(values_ms, float)
    low, high = float(values.min()), float(values.max())
    margin = max((high - low) * 0.02, 0.005 * high, 1e-3)
    counts, edges = np.histogram(values, bins=min(bins, max(5, len(values) // 2)), range=(low - margin, high + margin))
    plot = _Plot((float(edges[0]), float(edges[-1])), (0, float(counts.max()) * 1.12))
    x_ticks = {value: f"{value:g}" for value in ticks(*plot.x_range, 6)}
    y_ticks = {value: f"{value:g}" for value in ticks(*plot.y_range, 4) if value == int(value)}
    plot.axes(x_ticks, y_ticks, "session.run, ms", "frames")
    for i, n in enumerate(counts):
        if n:
            title = f"{edges[i]:.2f} to {edges[i + 1]:.2f} ms: {n} frames"
            plot.bar(float(edges[i]), float(edges[i + 1]), 0, float(n), "bar", title)
    for i, (name, value) in enumerate(marks.items()):
        plot.line(value, 0, value, plot.y_range[1], "mark")
        plot.note(value, f"{name} {value:.1f}", left=i == 0)
    return plot.svg("Inference times")
