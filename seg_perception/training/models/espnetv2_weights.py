"""The published Cityscapes checkpoints of ESPNetv2, read into our network.

A checkpoint's sha256 is checked before anything parses it, and nothing but tensors is ever read from it.
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import torch
from torch import Tensor

from seg_perception.errors import ModelCorruptError, ModelNotFoundError
from seg_perception.model import zoo
from seg_perception.training.models.espnetv2 import WIDTHS, ESPNetv2

__all__ = ["CLASSES", "load_espnetv2", "our_names", "published_checkpoint"]

CLASSES = 20
"""Of the published checkpoints: Cityscapes' train ids 0 to 18, then background, which has none."""

_SCALES = 5
_MAX_BYTES = max(model.size_bytes for model in zoo.FETCHABLE.values())

_RENAMED = (
    (r"^base_net\.level1\.", "stem."),
    (r"^base_net\.level([234])_0\.eesp\.", r"down\1.pyramid."),
    (r"^base_net\.level([234])_0\.inp_reinf\.", r"down\1.image."),
    (r"^base_net\.level([234])_0\.", r"down\1."),
    (r"^base_net\.level([34])\.(\d+)\.module_act\.", r"stage\1.\2.act."),
    (r"^base_net\.level([34])\.(\d+)\.", r"stage\1.\2.pyramid."),
    (r"\.proj_1x1\.", ".reduce."),
    (r"\.spp_dw\.(\d)\.conv\.", r".branches.\1."),
    (r"\.br_after_cat\.bn\.", ".fuse.0."),
    (r"\.br_after_cat\.act\.", ".fuse.1."),
    (r"\.conv_1x1_exp\.", ".expand."),
    # The decoder counts its levels from the deepest, we name ours by the encoder's.
    *((rf"^bu_dec_l{level}\.", f"decode{5 - level}.") for level in (1, 2, 3, 4)),
    *((rf"^merge_enc_dec_l{level}\.", f"skip{5 - level}.") for level in (2, 3, 4)),
    *((rf"^bu_br_l{level}\.", f"join{5 - level}.") for level in (2, 3, 4)),
    (r"\.projection_layer\.", ".reduce."),
    (r"\.stages\.", ".scales."),
    (r"\.merge_layer\.0\.", ".fuse."),
    (r"\.merge_layer\.2\.", ".mix."),
    (r"\.merge_layer\.3\.", ".expand."),
    (r"\.br\.br\.", ".act."),
    (r"\.wt_layer\.1\.", ".gate."),
    (r"\.expansion_layer\.", ".expand."),
    (r"\.(?:cbr|br)\.(\d)\.", r".\1."),
    (r"\.conv\.", ".0."),
    (r"\.bn\.", ".1."),
    (r"^(stem|.*\.reduce|.*\.image\.0)\.act\.", r"\1.2."),
)
_UNUSED = re.compile(r"down\d\.pyramid\.module_act\.")
"""The original keeps an activation in its strided pyramids that it never calls."""


def our_names(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """A published state under our network's parameter names, its unused entries left out."""
    state = {}
    for name, value in published.items():
        ours = name
        for pattern, replacement in _RENAMED:
            ours = re.sub(pattern, replacement, ours)
        if _UNUSED.match(ours):
            continue
        if re.match(r"decode\d\.fuse\.", ours) and value.ndim:
            # Scale by scale there, channel by channel here: the original shuffles after this layer, not before.
            value = value.view(_SCALES, -1).T.flatten()
        state[ours] = value
    return state


def load_espnetv2(path: Path, width: float) -> ESPNetv2:
    """ESPNetv2 with the published Cityscapes weights of that width, in eval mode on the CPU.

    Raises:
        ValueError: no checkpoint of that width was published.
        ModelNotFoundError: the file cannot be read.
        ModelCorruptError: it is not the published one, byte by byte.
    """
    if width not in WIDTHS:
        raise ValueError(f"ESPNetv2 width {width}: expected one of {', '.join(map(str, WIDTHS))}")
    data, published = _read_published(path)
    if published.width != width:
        raise ModelCorruptError(f"{path}: the checkpoint of width {published.width}, expected that of {width}")
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    network = ESPNetv2(CLASSES, width)
    network.load_state_dict(our_names(state))
    return network.eval()


def published_checkpoint(path: Path) -> zoo.FetchableModel:
    """Which published checkpoint a file is, by its sha256.

    Raises:
        ModelNotFoundError: it cannot be read.
        ModelCorruptError: it is none of them.
    """
    return _read_published(path)[1]


def _read_published(path: Path) -> tuple[bytes, zoo.FetchableModel]:
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= _MAX_BYTES else b""
    except OSError as exc:
        raise ModelNotFoundError(
            f"{path}: cannot be read ({exc.strerror}); `seg_perception models fetch` downloads it"
        ) from exc
    digest = hashlib.sha256(data).hexdigest()
    for model in zoo.FETCHABLE.values():
        if model.sha256 == digest:
            return data, model
    known = ", ".join(model.file for model in zoo.FETCHABLE.values())
    raise ModelCorruptError(
        f"{path}: {size} bytes{f' with sha256 {digest}' if data else ''}, none of the published checkpoints ({known}); "
        "`seg_perception models fetch` downloads them"
    )
