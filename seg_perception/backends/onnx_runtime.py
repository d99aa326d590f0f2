"""ONNX Runtime on the CPU."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime as ort

from seg_perception.errors import BackendError
from seg_perception.model.bundle import THING_HEADS, ModelBundle
from seg_perception.model.onnx_cut import cut_to_outputs
from seg_perception.types import Heads

__all__ = ["OnnxRuntimeBackend", "open_session", "usable_cores"]

_OUTPUTS = ("class_ids", "confidence")


def usable_cores() -> int:
    """Cores that this process may run on, which in a container are fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _options(threads: int, spinning: bool) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    options.log_severity_level = 3
    return options


def open_session(graph: bytes, threads: int = 0) -> ort.InferenceSession:
    """Any ONNX graph on the CPU, for tools. Idle threads sleep: those that spin take the cores from the next session.

    Args:
        threads: for one inference; 0 is one for each usable core.
    """
    return ort.InferenceSession(graph, _options(threads, False), providers=["CPUExecutionProvider"])


class OnnxRuntimeBackend:
    """A model bundle in an ONNX Runtime session.

    Args:
        bundle: a checked model file.
        threads: for one inference; 0 is one for each usable core.
        spinning: idle threads wait actively for the next operator.

    Attributes:
        placement: how many nodes of the optimised graph ran on which provider.

    Raises:
        BackendError: ONNX Runtime refuses the graph.
    """

    def __init__(self, bundle: ModelBundle, threads: int = 0, spinning: bool = False) -> None:
        self.bundle, self.labels, self.panoptic_divisor = bundle, bundle.labels, bundle.panoptic_divisor
        self.input_hw: tuple[int, int] | None = bundle.input_hw
        self.threads = threads or usable_cores()
        with tempfile.TemporaryDirectory(prefix="seg_perception_") as scratch:
            session = self._open(bundle.data, spinning, scratch)
            self.placement = self._placement(session)
        self._sessions: dict[bool, ort.InferenceSession] = {True: session, False: session}
        if bundle.tells_things_apart:
            self._sessions[False] = self._open(cut_to_outputs(bundle.data, _OUTPUTS), spinning)
        placed = ", ".join(f"{count} nodes on {name}" for name, count in self.placement.most_common())
        self.description = (
            f"onnxruntime {ort.__version__}, {placed}, {self.threads} threads, spinning {'on' if spinning else 'off'}, "
            f"model {bundle.name} {bundle.version} ({bundle.sha256[:12]})"
        )

    @property
    def session(self) -> ort.InferenceSession | None:
        """ONNX Runtime's own that answers class ids and confidence alone, for a benchmark; None once closed."""
        return self._sessions.get(False)

    def _open(self, graph: bytes, spinning: bool, profile_in: str = "") -> ort.InferenceSession:
        options = _options(self.threads, spinning)
        if profile_in:
            options.enable_profiling = True  # until the end of the first run, see _placement
            options.profile_file_prefix = os.path.join(profile_in, "profile")
        try:
            return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as exc:  # ONNX Runtime raises a dozen unrelated types
            raise BackendError(
                f"{self.bundle.path}: ONNX Runtime {ort.__version__} refuses the graph (opset {self.bundle.opset}); "
                f"install a newer onnxruntime or export the model with a lower opset: {exc}"
            ) from exc

    def _placement(self, session: ort.InferenceSession) -> Counter[str]:
        """Where each node of the optimised graph really ran, from the profile of one run."""
        self._run(session, np.zeros((*self.bundle.input_hw, 3), np.uint8))
        events = json.loads(Path(session.end_profiling()).read_text())
        nodes = {e["name"]: e["args"]["provider"] for e in events if e.get("args", {}).get("provider")}
        return Counter(nodes.values())

    def _run(self, session: ort.InferenceSession, image: np.ndarray, things: bool = False) -> list[np.ndarray]:
        names = [*_OUTPUTS, *THING_HEADS] if things else _OUTPUTS
        try:
            outputs: list[np.ndarray] = session.run(names, {"image": image[None]})
            return outputs
        except Exception as exc:
            raise BackendError(f"{self.bundle.name}: ONNX Runtime failed on an image {image.shape}: {exc}") from exc

    def warm_up(self, runs: int) -> float:
        image, elapsed_ms = np.zeros((*self.bundle.input_hw, 3), np.uint8), 0.0
        for _ in range(runs):
            for things in self._sessions if self.bundle.tells_things_apart else (False,):
                started = time.perf_counter()
                self.infer(image, 0, things)
                elapsed_ms = (time.perf_counter() - started) * 1e3
        return elapsed_ms

    def infer(self, image: np.ndarray | None, stamp_ns: int, things: bool = True) -> Heads:
        expected = (*self.bundle.input_hw, 3)
        if image is None or image.shape != expected or image.dtype != np.uint8:
            got = "nothing" if image is None else f"{image.dtype} {image.shape}"
            raise BackendError(f"{self.bundle.name}: expected a uint8 image {expected}, got {got}")
        session = self._sessions.get(things)
        if session is None:
            raise BackendError(f"{self.bundle.name}: the session is closed")
        things = things and self.bundle.tells_things_apart
        return Heads(*(head[0] for head in self._run(session, image, things)))

    def close(self) -> None:
        self._sessions = {}
