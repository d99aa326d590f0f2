"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from seg_perception.errors import ConfigError

__all__ = ["write_whole"]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, with the folders above it, so that no reader and no power cut ever finds half of it.

    Written beside and moved: what was there before stays until the new one is whole.

    Raises:
        ConfigError: it cannot be written there.
    """
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name[:100]}.", delete=False) as file:
            part = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
        os.replace(part, path)
    except OSError as exc:
        if part is not None:
            part.unlink(missing_ok=True)
        raise ConfigError(f"{path}: cannot be written ({exc.strerror}); choose another place") from exc
