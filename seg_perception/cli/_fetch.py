"""`seg_perception models fetch NAME`: published weights to a model file in the user's cache."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from urllib.parse import urlsplit

from seg_perception.cli._progress import Progress
from seg_perception.errors import ConfigError, DownloadError, ModelError
from seg_perception.files import write_whole
from seg_perception.model import zoo
from seg_perception.model.bundle import ModelBundle, read_bundle

__all__ = ["add_arguments", "run"]

_DEFAULT_HW = (256, 512)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fetch`."""
    parser.add_argument("name", help=f"{', '.join(zoo.FETCHABLE)}; without the number: 2.0")
    parser.add_argument(
        "--from", dest="checkpoint", type=Path, metavar="FILE", help="a copy of the checkpoint: no network is used"
    )
    parser.add_argument("--size", metavar="WxH", help="the model's input, pixels (default 512x256)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to (default: the user's cache, under its name)")
    parser.add_argument("--force", action="store_true", help="replace a model file that is there")


def run(args: argparse.Namespace) -> int:
    """0; errors are told in one line."""
    published = zoo.fetchable(args.name)
    if published is None:
        raise ConfigError(f"no model {args.name!r} to fetch; there are {', '.join(sorted(zoo.FETCHABLE))}")
    size_hw = None if args.size is None else _size_hw(args.size)
    path = args.out or published.model_path
    if not args.force and _is_there(path, size_hw, in_cache=args.out is None):
        _say_where(read_bundle(path), args.out)
        return 0
    checkpoint = args.checkpoint or _download(published)
    write_whole(path, _convert(checkpoint, published, size_hw or _DEFAULT_HW, kept=args.checkpoint is None))
    if args.checkpoint is not None and not published.checkpoint_path.exists():
        write_whole(published.checkpoint_path, args.checkpoint.read_bytes())  # where a training finds its teacher
    _say_where(read_bundle(path), args.out)
    return 0


def _size_hw(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text)
    if match is None:
        raise ConfigError(f"--size {text}: expected WIDTHxHEIGHT in pixels, such as 512x256")
    return int(match.group(2)), int(match.group(1))


def _is_there(path: Path, size_hw: tuple[int, int] | None, in_cache: bool) -> bool:
    """Whether nothing has to be done; ConfigError if something else is in the way."""
    if not path.exists():
        return False
    if not in_cache:
        raise ConfigError(f"{path}: is there already; --force replaces it")
    try:
        bundle = read_bundle(path)
    except ModelError as exc:
        print(f"{exc}: making it again")
        return False
    if size_hw is not None and bundle.input_hw != size_hw:
        height, width = bundle.input_hw
        raise ConfigError(
            f"{path}: is there already, for {width}x{height}; --force replaces it, --out FILE writes another"
        )
    return True


def _download(published: zoo.FetchableModel) -> Path:
    from seg_perception.model.download import download, is_whole

    path = published.checkpoint_path
    if is_whole(path, published.sha256, published.size_bytes):
        return path
    print(f"downloading {path.name} ({published.size_bytes / 1e6:.1f} MB) from {urlsplit(published.url).hostname}")
    try:
        with Progress("downloading", published.size_bytes // 1000, "kB") as progress:
            download(
                published.url,
                path,
                published.sha256,
                published.size_bytes,
                lambda done: progress.update(done // 1000),
            )
    except DownloadError as exc:
        raise DownloadError(f"{exc}; a copy of the file will do as well: --from FILE") from exc
    return path


def _convert(checkpoint: Path, published: zoo.FetchableModel, size_hw: tuple[int, int], kept: bool) -> bytes:
    try:
        from seg_perception.training.convert import convert
    except ModuleNotFoundError as exc:
        if not exc.name or exc.name.startswith("seg_perception"):
            raise
        raise ModelError(
            f"{f'{checkpoint} is kept; ' if kept else ''}making a model file of it needs the training extra, and "
            f"{exc.name} is not installed: `pip install torch onnx`, then run the same command again"
        ) from exc
    print(f"converting it for images of {size_hw[1]}x{size_hw[0]}")
    return convert(checkpoint, published, size_hw)


def _say_where(bundle: ModelBundle, out: Path | None) -> None:
    height, width = bundle.input_hw
    model = bundle.name if out is None else bundle.path.resolve()
    print(f"{bundle.path}: {len(bundle.data) / 1e6:.1f} MB, {width}x{height}, licence {bundle.metadata['license']}")
    print(f"`seg_perception models info {model}` says what it is; to use it give model:={model} or --model {model}")
