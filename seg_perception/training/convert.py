"""A published checkpoint to a model file, as `seg_perception models fetch` does it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from seg_perception.errors import ConfigError
from seg_perception.labels import CITYSCAPES
from seg_perception.model.zoo import FetchableModel
from seg_perception.training.export import export_graph
from seg_perception.training.model_file import metadata_of, with_metadata
from seg_perception.training.models import ESPNetv2, load_espnetv2

__all__ = ["StreetClasses", "convert"]

_SIDES_PX = (64, 4096)

_LICENCE = """MIT License

Copyright (c) 2021 Sachin Mehta

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated \
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the \
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to \
permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the \
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE \
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR \
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR \
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
"""Of the weights, which asks to go with every copy."""


class StreetClasses(nn.Module):
    """The 19 classes that have a train id, of a network that knows background as well.

    Background is left out before argmax and confidence: class ids are 0 to 18, and confidence is the winner's
    probability among them. Cityscapes does not evaluate background, and the published weights were never seen to
    prefer it.
    """

    def __init__(self, network: ESPNetv2) -> None:
        super().__init__()
        self.network, self.stride = network, network.stride

    def forward(self, image: Tensor) -> Tensor:
        """RGB float `[N, 3, H, W]` in 0 … 255 to logits `[N, 19, H/2, W/2]`."""
        logits: Tensor = self.network(image)
        return logits[:, : len(CITYSCAPES)]


def convert(checkpoint: Path, published: FetchableModel, size_hw: tuple[int, int]) -> bytes:
    """The sealed model file of a published checkpoint, for images of `size_hw` (height, width in pixels).

    Class ids and confidence have the network's own stride, 2.

    Raises:
        ConfigError: a size that the network cannot take.
        ModelNotFoundError, ModelCorruptError: the file cannot be read, or is not the published one.
    """
    step = ESPNetv2.size_multiple
    if any(side % step or not _SIDES_PX[0] <= side <= _SIDES_PX[1] for side in size_hw):
        raise ConfigError(
            f"size {size_hw[1]}x{size_hw[0]}: expected WIDTHxHEIGHT, both multiples of {step} from {_SIDES_PX[0]} to "
            f"{_SIDES_PX[1]}, such as 512x256"
        )
    network = StreetClasses(load_espnetv2(checkpoint, published.width)).eval()
    with torch.no_grad():
        graph = export_graph(network, size_hw, network.stride)
    metadata = metadata_of(
        published.name,
        "1.0",
        size_hw,
        network.stride,
        network.stride,
        license="MIT",
        license_text=_LICENCE,
        description=f"ESPNetv2 of width {published.width} (Mehta et al. 2019), its authors' weights, converted",
        training={
            "data": "Cityscapes, 19 classes, by the weights' authors",
            "terms": "Cityscapes is for non-commercial research (https://www.cityscapes-dataset.com/license): "
            "whether that binds a use of the weights is for the user to settle",
            "weights": published.url,
            "weights_sha256": published.sha256,
        },
        accuracy={"cityscapes_val_miou_published_at_1024x512": published.cityscapes_val_miou},
    )
    return with_metadata(graph, metadata)
