"""One self-contained page of an evaluation: no script, no file beside it, nothing fetched."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Sequence

import cv2
import numpy as np

from seg_perception.evaluation.charts import histogram, reliability_diagram
from seg_perception.evaluation.page_style import STYLE
from seg_perception.evaluation.pictures import FramePictures
from seg_perception.evaluation.result import ClassScore, Evaluation

__all__ = ["evaluation_page"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_HEAT_TEXT_FROM = 0.55


def evaluation_page(evaluation: Evaluation, palette: np.ndarray, frames: Sequence[FramePictures]) -> str:
    """The page as HTML text.

    Args:
        palette: uint8 `[256, 3]`, RGB by class id of the data set.
        frames: the worst frames, drawn, in the order of `evaluation.worst`.
    """
    subject = evaluation.subject
    title = f"{subject.model} {subject.version} on {subject.dataset} {subject.split}"
    sections = [
        _summary(evaluation),
        _section("Classes", _classes(evaluation, palette)),
        _section("What is taken for what", _confusion(evaluation)),
        f'<div class="pair">{_section("Confidence", _confidence(evaluation))}'
        f"{_section('Speed', _speed(evaluation))}</div>",
    ]
    if frames:
        sections.append(_section("The worst frames", _worst(evaluation, palette, frames)))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{_text(title)}</title><style>{STYLE}</style></head>\n<body><main>"
        + "\n".join(sections)
        + "</main></body></html>\n"
    )


def _summary(evaluation: Evaluation) -> str:
    subject, (p50, p95, _) = evaluation.subject, evaluation.inference_ms
    height, width = subject.input_hw
    cards = (
        ("mean IoU", _percent(evaluation.miou), "%"),
        ("boundary IoU", _percent(evaluation.boundary_miou), "%"),
        ("pixels right", _percent(evaluation.pixel_accuracy), "%"),
        ("calibration error", f"{100 * evaluation.ece:.2f}", "%"),
        ("inference, median", f"{p50:.1f}", "ms"),
        ("inference, p95", f"{p95:.1f}", "ms"),
    )
    boxes = "".join(
        f'<div class="card"><b>{value}<small> {unit}</small></b><span>{name}</span></div>'
        for name, value, unit in cards
    )
    temperature = "" if subject.temperature is None else f", confidence at temperature {subject.temperature:g}"
    return (
        f"<header><h1>{_text(subject.model)} <small>{_text(subject.version)}</small></h1>"
        f"<p>on {_text(subject.dataset)} {_text(subject.split)}: {len(evaluation.frames)} frames, "
        f"{len(subject.classes)} classes. Input {width}×{height}{temperature}.</p>"
        f'<p class="fine">{_text(subject.engine)}</p></header><div class="cards">{boxes}</div>'
    )


def _classes(evaluation: Evaluation, palette: np.ndarray) -> str:
    rows = "".join(
        _class_row(score, _hex(palette[i]), score.name in evaluation.subject.unknown)
        for i, score in enumerate(evaluation.class_scores())
    )
    means = _bar_cell(evaluation.miou, evaluation.boundary_miou)
    mean = f'<tr class="mean"><th>mean</th>{means}<td colspan="4"></td></tr>'
    return (
        '<div class="wide"><table class="classes"><thead><tr><th>class</th>'
        '<th>IoU <span class="key a"></span> and boundary IoU <span class="key b"></span>, %</th>'
        "<th>of all pixels</th><th>found</th><th>right</th><th>confidence</th></tr></thead>"
        f"<tbody>{rows}{mean}</tbody></table></div>"
        '<p class="fine">Found: of its pixels, how many were called so. Right: of the pixels called so, how many are; '
        "the confidence is the mean over the same pixels and should be that number. Boundary IoU looks at a band "
        "along each outline, 2 % of the image's diagonal wide (Cheng et al. 2021).</p>"
    )


def _class_row(score: ClassScore, color: str, unknown: bool) -> str:
    gap = score.confidence - score.accuracy
    sure = "" if math.isnan(gap) or abs(gap) < 0.1 else ' class="off"'
    note = ' <small title="the model has no such class">not in the model</small>' if unknown else ""
    return (
        f'<tr><th><i style="background:{color}"></i>{_text(score.name)}{note}</th>'
        f"{_bar_cell(score.iou, score.boundary_iou)}<td>{_percent(score.share)}</td><td>{_percent(score.recall)}</td>"
        f"<td>{_percent(score.accuracy)}</td><td{sure}>{_percent(score.confidence)}</td></tr>"
    )


def _bar_cell(iou: float, boundary: float) -> str:
    lines = "".join(
        f'<div class="line"><div class="track"><div class="{kind}" style="width:{_width(value)}%"></div></div>'
        f"<span>{_percent(value)}</span></div>"
        for kind, value in (("a", iou), ("b", boundary))
    )
    return f'<td class="bars">{lines}</td>'


def _confusion(evaluation: Evaluation) -> str:
    names, confusion = evaluation.subject.classes, evaluation.confusion
    no_class = bool(confusion[:, -1].any())
    columns = [*names, "no class"] if no_class else list(names)
    head = "".join(f"<th><span>{_text(name)}</span></th>" for name in columns)
    rows = []
    for i, name in enumerate(names):
        total = int(confusion[i].sum())
        cells = "".join(
            _heat_cell(int(confusion[i, j]), total, i == j, f"{name} called {called}")
            for j, called in enumerate(columns)
        )
        rows.append(f"<tr><th>{_text(name)}</th>{cells}</tr>")
    return (
        f'<div class="wide"><table class="heat"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="fine">Each row is one class of the truth: of its pixels, how many percent were called what. '
        "Empty is under 0.5 %.</p>"
    )


def _heat_cell(count: int, total: int, right: bool, what: str) -> str:
    if not total:
        return '<td class="none"></td>'
    share = count / total
    number = f"{100 * share:.0f}" if share >= 0.005 else ""
    # The square root lets small confusions be seen beside the diagonal.
    strength = share if right else math.sqrt(share)
    style = f"background:rgb(var(--{'good' if right else 'bad'}) / {strength:.2f})"
    bold = " class=dark" if strength > _HEAT_TEXT_FROM else ""
    return f'<td{bold} style="{style}" title="{_text(what)}: {100 * share:.2f} %, {count} pixels">{number}</td>'


def _confidence(evaluation: Evaluation) -> str:
    bins = evaluation.calibration.reliability()
    return (
        f"{reliability_diagram(bins)}"
        '<p class="fine">Short lines: how often a pixel is right, by how sure the model is. Orange is the distance to '
        f"what it said; on the dashed line both agree. Expected calibration error {100 * bins.ece:.2f} %, "
        f"{len(bins.count)} bins.</p>"
    )


def _speed(evaluation: Evaluation) -> str:
    p50, p95, top = evaluation.inference_ms
    times = [frame.inference_ms for frame in evaluation.frames]
    return (
        f"{histogram(times, {'p50': p50, 'p95': p95})}"
        f'<p class="fine">Time of <code>session.run</code> on each frame while it was judged, between reading files: '
        f"median {p50:.2f} ms, p95 {p95:.2f} ms, longest {top:.2f} ms.</p>"
    )


def _worst(evaluation: Evaluation, palette: np.ndarray, frames: Sequence[FramePictures]) -> str:
    present = sorted(set().union(*(frame.present for frame in frames)))
    names = evaluation.subject.classes
    chips = "".join(f'<span><i style="background:{_hex(palette[c])}"></i>{_text(names[c])}</span>' for c in present)
    blocks = []
    for index, frame in zip(evaluation.worst, frames):
        weakest = ", ".join(f"{_text(name)} {_percent(iou)}" for name, iou in frame.weakest)
        pictures = "".join(
            f'<figure><img src="{_data_uri(picture, lossless)}" alt="{kind}" loading="lazy">'
            f"<figcaption>{kind}</figcaption></figure>"
            for kind, picture, lossless in (
                ("image", frame.image, False),
                ("truth", frame.truth, True),
                ("prediction", frame.prediction, True),
                ("error", frame.error, False),
            )
        )
        blocks.append(
            f"<article><h3>{_text(frame.name)} <small>mean IoU {_percent(evaluation.frames[index].miou)} %; "
            f'weakest: {weakest}</small></h3><div class="strip">{pictures}</div></article>'
        )
    return (
        f'<p class="chips">{chips}<span><i style="background:#000"></i>void, or no class</span></p>{"".join(blocks)}'
        '<p class="fine">Error: amber to red is wrong, the redder the surer the model was; dark is void. A frame\'s '
        "mean IoU is over the classes that it holds. Neighbours of a frame that is shown are left out: they look the "
        "same.</p>"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _data_uri(picture: np.ndarray, lossless: bool) -> str:
    """An RGB picture as an address: PNG for masks, JPEG for photographs."""
    kind, options = ("png", [cv2.IMWRITE_PNG_COMPRESSION, 9]) if lossless else ("jpeg", [cv2.IMWRITE_JPEG_QUALITY, 82])
    ok, data = cv2.imencode(f".{kind}", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    assert ok
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}"


def _hex(color: np.ndarray) -> str:
    return "#" + "".join(f"{int(c):02x}" for c in color)


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def _width(value: float) -> str:
    return "0" if math.isnan(value) else f"{100 * value:.1f}"


def _text(text: object) -> str:
    """Safe between tags and inside attributes."""
    return html.escape(str(text), quote=True)
