"""Every error this package raises on purpose.

::

    SegPerceptionError
    ├── ConfigError            a parameter or option that cannot be used        (also a ValueError)
    ├── FrameError             one camera image that cannot be used; has a `reason`
    ├── GeometryError          pixels that cannot become metres; has a `reason`
    │   └── TransformError        a transform that cannot be used, or not be given for the time asked
    ├── LabelError             a label set or a class id that makes no sense    (also a ValueError)
    ├── ModelError             a model file that cannot be used
    │   ├── ModelNotFoundError    no such file or name
    │   ├── ModelCorruptError     truncated, tampered with, or not a model at all
    │   └── ModelContractError    an ONNX graph that does not keep the contract
    ├── DownloadError          a file that could not be fetched
    ├── BackendError           the inference engine refused or failed
    │   └── BackendNotBuiltError  reserved name, no implementation yet
    ├── BagError               a bag, video or folder that cannot be read or written
    ├── DatasetError           a labelled data set that cannot be read or makes no sense
    └── TrainingError          a training run that cannot start or go on

A message says what was expected, what was there, and how to repair it.
"""

from __future__ import annotations

__all__ = [
    "BackendError",
    "BackendNotBuiltError",
    "BagError",
    "ConfigError",
    "DatasetError",
    "DownloadError",
    "FrameError",
    "GeometryError",
    "LabelError",
    "ModelContractError",
    "ModelCorruptError",
    "ModelError",
    "ModelNotFoundError",
    "SegPerceptionError",
    "TrainingError",
    "TransformError",
]


class SegPerceptionError(Exception):
    """Base of every error raised on purpose by this package."""


class ConfigError(SegPerceptionError, ValueError):
    """A parameter or option that cannot be used."""


class LabelError(SegPerceptionError, ValueError):
    """A label set, or a class id, that makes no sense."""


class FrameError(SegPerceptionError):
    """One camera image that cannot be used. It is skipped and counted; the next one is not affected.

    Attributes:
        reason: short stable identifier (`"data_length"`, `"unknown_encoding"`, ...) under which
            the failure is counted in the diagnostics.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class GeometryError(SegPerceptionError):
    """Pixels cannot become metres: the calibration or the camera's pose is missing or makes no sense.

    The frame's masks are not affected.

    Attributes:
        reason: short stable identifier (`"no_camera_info"`, `"bad_pose"`, ...) under which this is counted in the
            diagnostics.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TransformError(GeometryError):
    """A transform that cannot be used, or that cannot be given for the time asked.

    Attributes:
        reason: `"bad_transform"`, `"unknown_frame"`, `"not_connected"`, `"extrapolation_past"` or
            `"extrapolation_future"`; the failure is counted under it.
    """


class ModelError(SegPerceptionError):
    """A model file that cannot be used."""


class ModelNotFoundError(ModelError):
    """No model of that name, or no file at that path."""


class ModelCorruptError(ModelError):
    """The file is truncated, was changed after it was sealed, or is no ONNX model."""


class ModelContractError(ModelError):
    """A sound ONNX graph that does not keep the model contract (docs/models.md)."""


class DownloadError(SegPerceptionError):
    """A file that could not be fetched: no network, not there, not the expected one, or nowhere to put it."""


class BackendError(SegPerceptionError):
    """The inference engine refused the model or failed while running it."""


class BackendNotBuiltError(BackendError):
    """A reserved backend name that has no implementation yet."""


class BagError(SegPerceptionError):
    """A bag, video or folder of images that cannot be read or written."""


class DatasetError(SegPerceptionError):
    """A labelled data set, or one file of it, that cannot be read or makes no sense."""


class TrainingError(SegPerceptionError):
    """A training run that cannot start or go on."""
