"""Inference engines behind one small protocol."""

from __future__ import annotations

from seg_perception.backends.base import Backend
from seg_perception.config import BACKENDS, PipelineConfig
from seg_perception.errors import BackendNotBuiltError
from seg_perception.model.bundle import load_bundle

__all__ = ["Backend", "open_backend"]


def open_backend(config: PipelineConfig) -> Backend:
    """The engine that the configuration names, with its model loaded.

    Raises:
        ModelError: the model file cannot be used.
        BackendError: the engine cannot be used.
        ConfigError: a parameter of the engine cannot be used.
    """
    if config.backend == "onnxruntime":
        from seg_perception.backends.onnx_runtime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(load_bundle(config.model), threads=config.threads, spinning=config.spinning)
    if config.backend == "replayed":
        from seg_perception.backends.replayed import ReplayedBackend

        return ReplayedBackend.from_folder(config.replay_masks)
    raise BackendNotBuiltError(f"backend: {config.backend} is not built yet; use one of {', '.join(BACKENDS)}")
