"""`seg_perception models fetch`, as a user calls it; the network is a server in a thread of this process."""

from __future__ import annotations

import dataclasses
import hashlib
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from seg_perception.cli import main
from seg_perception.errors import ModelNotFoundError
from seg_perception.model import zoo
from seg_perception.model.bundle import load_bundle

NAME = "espnetv2_cityscapes_0.5"
SHARED_WEIGHTS = Path(__file__).resolve().parents[2] / "shared" / "models" / "espnetv2_cityscapes"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "seg_perception"


@pytest.fixture
def weights() -> Path:
    """The published checkpoint of the narrowest network."""
    pytest.importorskip("torch", reason="the conversion needs torch")
    pytest.importorskip("onnx", reason="the conversion needs the onnx package")
    path = SHARED_WEIGHTS / zoo.FETCHABLE[NAME].file
    if not path.is_file():
        pytest.skip(f"needs the published weights in {SHARED_WEIGHTS}")
    return path


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        pytest.fail("the network was touched")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A server with `content`, from which NAME is fetched; what is pinned is `content` as well."""
    state: dict[str, Any] = {"content": b"no weights at all", "requests": 0}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state["requests"] += 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(state["content"])))
            self.end_headers()
            self.wfile.write(state["content"])

        def log_message(self, *args: Any) -> None:
            pass

    def publish(content: bytes) -> None:
        state["content"] = content
        pinned = dataclasses.replace(
            zoo.FETCHABLE[NAME],
            url=f"http://127.0.0.1:{server.server_address[1]}/weights.pth",
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        monkeypatch.setattr(zoo, "FETCHABLE", MappingProxyType({**zoo.FETCHABLE, NAME: pinned}))

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        publish(state["content"])
        state["publish"] = publish
        yield state
        server.shutdown()
        thread.join()


def test_from_a_local_copy_to_a_model_that_works_by_name(
    weights: Path, cache: Path, no_network: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "fetch", NAME, "--from", str(weights), "--size", "128x64"]) == 0
    path = cache / "models" / f"{NAME}.onnx"
    said = capsys.readouterr().out
    assert str(path) in said and "128x64" in said and f"model:={NAME}" in said
    kept = cache / "checkpoints" / weights.name  # where a training finds its teacher
    assert sorted(p for p in cache.rglob("*.*")) == [kept, path]
    assert kept.read_bytes() == weights.read_bytes()

    bundle = load_bundle(NAME)
    assert bundle.path == path and bundle.name == NAME and bundle.input_hw == (64, 128)
    assert main(["models", "list"]) == 0
    listed = capsys.readouterr().out
    assert f"+ {NAME}" in listed and "- espnetv2_cityscapes_2.0" in listed
    assert main(["models", "info", NAME]) == 0
    assert "0.539" in capsys.readouterr().out
    assert main(["models", "verify"]) == 0
    assert f"ok      {NAME}: onnxruntime" in capsys.readouterr().out


def test_what_was_fetched_stays_until_force(
    weights: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch = ["models", "fetch", NAME, "--from", str(weights)]
    assert main([*fetch, "--size", "128x64"]) == 0
    first = load_bundle(NAME).sha256
    assert main([*fetch]) == 0 and main([*fetch, "--size", "128x64"]) == 0
    assert load_bundle(NAME).sha256 == first
    assert main([*fetch, "--size", "160x96"]) == 1
    assert "is there already, for 128x64; --force replaces it" in capsys.readouterr().err
    assert main([*fetch, "--size", "160x96", "--force"]) == 0
    assert load_bundle(NAME).input_hw == (96, 160)

    out = tmp_path / "elsewhere" / "mine.onnx"
    assert main([*fetch, "--size", "128x64", "--out", str(out)]) == 0
    assert load_bundle(str(out)).sha256 == first and load_bundle(NAME).input_hw == (96, 160)
    assert main([*fetch, "--size", "128x64", "--out", str(out)]) == 1
    assert "mine.onnx: is there already; --force replaces it" in capsys.readouterr().err
    assert sorted(p.name for p in out.parent.iterdir()) == ["mine.onnx"]


def test_a_damaged_model_is_made_again(weights: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cache / "models" / f"{NAME}.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a model")
    assert main(["models", "verify"]) == 1
    assert f"FAILED  {NAME}" in capsys.readouterr().err
    assert main(["models", "fetch", NAME, "--from", str(weights), "--size", "128x64"]) == 0
    assert load_bundle(NAME).input_hw == (64, 128)


def test_a_download_is_converted_and_not_downloaded_again(
    weights: Path, cache: Path, published: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    published["publish"](weights.read_bytes())
    assert main(["models", "fetch", NAME, "--size", "128x64"]) == 0
    assert "downloading weights.pth (0.5 MB) from 127.0.0.1" in capsys.readouterr().out
    assert (cache / "checkpoints" / "weights.pth").read_bytes() == weights.read_bytes()
    assert load_bundle(NAME).input_hw == (64, 128)
    assert main(["models", "fetch", NAME, "--size", "160x96", "--force"]) == 0
    assert published["requests"] == 1


def test_without_the_training_extra_the_download_is_kept(
    cache: Path, published: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("seg_perception.training")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["models", "fetch", NAME]) == 1
    said = capsys.readouterr().err
    assert "weights.pth is kept" in said and "torch is not installed: `pip install torch onnx`" in said
    assert said.count("\n") == 1
    assert (cache / "checkpoints" / "weights.pth").read_bytes() == published["content"]


def test_a_download_that_fails_names_the_way_around(
    cache: Path, published: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    published["content"] = b"other weights    "
    assert main(["models", "fetch", NAME]) == 1
    said = capsys.readouterr().err
    assert "expected sha256" in said and "--from FILE" in said
    assert list((cache / "checkpoints").iterdir()) == []


def test_a_local_copy_is_checked(
    weights: Path, tmp_path: Path, no_network: None, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.pth"
    other.write_bytes(weights.read_bytes()[:-1] + b"?")
    for path, told in ((other, "none of the published checkpoints"), (tmp_path / "none.pth", "cannot be read")):
        assert main(["models", "fetch", NAME, "--from", str(path)]) == 1
        assert told in capsys.readouterr().err
    assert main(["models", "fetch", "espnetv2_cityscapes", "--from", str(weights)]) == 1
    assert "the checkpoint of width 0.5, expected that of 2.0" in capsys.readouterr().err
    assert not list(cache.rglob("*.onnx"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["street_pyramid"], "no model 'street_pyramid' to fetch; there are espnetv2_cityscapes_0.5, "),
        ([NAME, "--size", "512"], "--size 512: expected WIDTHxHEIGHT"),
        ([NAME, "--size", "512x-1"], "--size 512x-1: expected WIDTHxHEIGHT"),
    ],
)
def test_wrong_wishes_are_told_before_anything_is_fetched(
    arguments: list[str], told: str, no_network: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "fetch", *arguments]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("name", [NAME, "espnetv2_cityscapes"])
def test_a_model_that_was_not_fetched_says_how(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match=f"{name} has not been fetched .*`seg_perception models fetch {name}`"):
        load_bundle(name)


def test_the_short_name_is_the_widest() -> None:
    assert zoo.fetchable("espnetv2_cityscapes") is zoo.FETCHABLE["espnetv2_cityscapes_2.0"]
    assert zoo.fetchable("espnetv2") is None


def test_the_cache_is_where_the_xdg_specification_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for base in ("", "relative/to/nothing"):
        monkeypatch.setenv("XDG_CACHE_HOME", base)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert zoo.cache_folder() == tmp_path / ".cache" / "seg_perception"
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(ModelNotFoundError, match="set XDG_CACHE_HOME"):
        zoo.cache_folder()
    assert main(["models", "list"]) == 0
