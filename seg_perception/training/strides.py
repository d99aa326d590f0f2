"""What the class ids' stride costs and gains: `python -m seg_perception.training.strides --run RUN --data CAMVID`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

from seg_perception.datasets import camvid_items
from seg_perception.latency import percentiles
from seg_perception.metrics import mean_iou
from seg_perception.training.evaluate import camvid_confusion
from seg_perception.training.export import export_graph, network_of_run, onnx_predictor

__all__ = ["main"]

_STRIDES = (4, 2, 1)


def main(argv: list[str] | None = None) -> None:
    """Accuracy on CamVid val, and the time of `session.run`, alternating between the strides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run")
    parser.add_argument("--data", type=Path, required=True, help="CamVid")
    parser.add_argument("--rounds", type=int, default=60)
    args = parser.parse_args(argv)
    network, config, _ = network_of_run(args.run)
    graphs = {stride: export_graph(network, config.size_hw, stride).SerializeToString() for stride in _STRIDES}
    items = camvid_items(args.data, "val")
    accuracy = {}
    for stride, graph in graphs.items():
        accuracy[stride] = mean_iou(camvid_confusion(onnx_predictor(graph), items, config.size_hw))
        print(f"stride {stride}: CamVid val mIoU {accuracy[stride]:.4f}", flush=True)
    options = ort.SessionOptions()
    # Threads of one session that spin would take the cores from the next one's.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    sessions = {
        stride: ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        for stride, graph in graphs.items()
    }
    image = np.random.default_rng(0).integers(0, 256, (1, *config.size_hw, 3)).astype(np.uint8)
    times: dict[int, list[float]] = {stride: [] for stride in _STRIDES}
    for _ in range(args.rounds):
        for stride, session in sessions.items():
            started = time.perf_counter()
            session.run(None, {"image": image})
            times[stride].append((time.perf_counter() - started) * 1e3)
    print("\n| stride | CamVid val mIoU | p50 ms |\n|---|---|---|")
    for stride in _STRIDES:
        print(f"| {stride} | {accuracy[stride]:.4f} | {percentiles(times[stride])[0]:.1f} |")


if __name__ == "__main__":
    main()
