"""Accuracy over time of several models, as a picture. Needs Matplotlib, which comes with the training extra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

from seg_perception.datasets import Dataset
from seg_perception.evaluation.compare import ModelFigures

__all__ = ["draw_plot"]


def draw_plot(figures: Sequence[ModelFigures], dataset: Dataset, path: Path) -> None:
    """Accuracy over time, one point a model, models of a family joined; PNG or SVG by the path's suffix."""
    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    figure, axes = pyplot.subplots(figsize=(9, 5.2), layout="constrained")
    families: dict[str, list[ModelFigures]] = {}
    for row in figures:
        families.setdefault(row.family, []).append(row)
    for family, rows in families.items():
        rows.sort(key=lambda row: row.p50_ms)
        axes.plot(
            [r.p50_ms for r in rows],
            [r.miou for r in rows],
            marker="o",
            markersize=7,
            label=family if len(rows) > 1 else None,
        )
        for row in rows:
            text = row.name if len(rows) == 1 else row.name.rpartition("_")[2]
            axes.annotate(text, (row.p50_ms, row.miou), xytext=(6, 5), textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks([2, 5, 10, 20, 50, 100, 200, 500])
    low, high = min(r.p50_ms for r in figures), max(r.p50_ms for r in figures)
    axes.set(
        xlim=(low / 1.4, high * 1.6), xlabel="session.run, ms (p50)", ylabel=f"{dataset.name} {dataset.split} mIoU"
    )
    axes.grid(alpha=0.3)
    if any(len(rows) > 1 for rows in families.values()):
        axes.legend(fontsize=8, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
