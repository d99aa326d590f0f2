"""Downloads from a real HTTP server that cuts, ignores, lies and refuses."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from seg_perception.errors import DownloadError
from seg_perception.model.download import download, is_whole

CONTENT = bytes(range(256)) * 4096 + b"the end"  # 1 MiB and a bit
SHA256 = hashlib.sha256(CONTENT).hexdigest()
REPO = Path(__file__).resolve().parents[2]


class Server(ThreadingHTTPServer):
    """Serves CONTENT by range. `plan` holds functions that answer the first requests in another way."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan: list[Callable[[Handler], None]] = []
        self.requests: list[dict[str, str]] = []
        self.sent = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/weights.pth"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.requests.append(dict(self.headers))
        plan = self.server.plan
        (plan.pop(0) if plan else honest)(self)

    def log_message(self, *args: Any) -> None:
        pass

    def start(self) -> int:
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))
        assert wanted is not None
        return int(wanted.group(1))

    def answer(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.server.sent += len(body)


def honest(handler: Handler, content: bytes = CONTENT, keep: int | None = None, etag: str = '"v1"') -> None:
    """What a good server does; with `keep`, the connection breaks after so many bytes of what it promised."""
    start = handler.start()
    if start >= len(content):
        handler.answer(416, b"", Content_Range=f"bytes */{len(content)}")
        return
    if_range = handler.headers.get("If-Range")
    if start and if_range in (None, etag):
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.answer(206, content[start:][:keep], len(content) - start, Content_Range=span, ETag=etag)
    else:
        handler.answer(200, content[:keep], len(content), ETag=etag)
    if keep is not None:
        handler.close_connection = True


def cut_after(count: int, **options: Any) -> Callable[[Handler], None]:
    return lambda handler: honest(handler, keep=count, **options)


def status(code: int) -> Callable[[Handler], None]:
    return lambda handler: handler.answer(code, b"no")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def fetch(server: Server, path: Path, **options: Any) -> None:
    download(server.url, path, SHA256, len(CONTENT), **{"pause_s": 0.001, "timeout_s": 5.0, **options})


def command_of(code: str, server: Server, path: Path) -> list[str]:
    return [sys.executable, "-c", code, server.url, str(path), SHA256, str(len(CONTENT))]


def run(code: str, server: Server, path: Path) -> subprocess.CompletedProcess[str]:
    command = command_of(code, server, path)
    return subprocess.run(command, capture_output=True, text=True, cwd=REPO, timeout=60, check=True)


PLAINLY = (
    "import sys; from pathlib import Path; from seg_perception.model.download import download;"
    "download(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights.pth"


def folder_of(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def test_the_file_arrives_whole_and_alone_and_is_not_asked_for_again(server: Server, path: Path) -> None:
    counts: list[int] = []
    fetch(server, path, progress=counts.append)
    assert path.read_bytes() == CONTENT and folder_of(path) == ["weights.pth"]
    assert counts[0] == 0 and counts == sorted(counts) and counts[-1] == len(CONTENT) and len(counts) > 10
    assert is_whole(path, SHA256, len(CONTENT))
    fetch(server, path)
    assert len(server.requests) == 1 and "Range" not in server.requests[0]


def test_a_cut_connection_is_taken_up_where_it_broke(server: Server, path: Path) -> None:
    server.plan = [cut_after(300_000), cut_after(200_000)]
    fetch(server, path)
    assert path.read_bytes() == CONTENT and folder_of(path) == ["weights.pth"]
    assert [r.get("Range") for r in server.requests] == [None, "bytes=300000-", "bytes=500000-"]
    assert [r.get("If-Range") for r in server.requests] == [None, '"v1"', '"v1"']
    assert server.sent == len(CONTENT)  # nothing twice


def test_a_later_call_goes_on_from_what_is_there(server: Server, path: Path) -> None:
    server.plan = [cut_after(400_000), status(403)]
    with pytest.raises(DownloadError, match="403"):
        fetch(server, path)
    assert folder_of(path) == ["weights.pth.part"]
    fetch(server, path)
    assert path.read_bytes() == CONTENT and folder_of(path) == ["weights.pth"]
    assert server.requests[-1]["Range"] == "bytes=400000-" and "If-Range" not in server.requests[-1]


def test_a_server_without_ranges_starts_over(server: Server, path: Path) -> None:
    server.plan = [cut_after(300_000), lambda handler: handler.answer(200, CONTENT)]
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert server.sent == len(CONTENT) + 300_000


def test_a_file_that_changed_meanwhile_is_taken_from_the_start(server: Server, path: Path) -> None:
    server.plan = [cut_after(300_000, content=b"x" * len(CONTENT), etag='"v0"')]
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert server.requests[1]["If-Range"] == '"v0"'


@pytest.mark.parametrize("there", [len(CONTENT) // 2, len(CONTENT), len(CONTENT) + 1])
def test_what_lies_there_and_does_not_fit_is_given_up(server: Server, path: Path, there: int) -> None:
    path.parent.mkdir()
    path.with_name("weights.pth.part").write_bytes(b"x" * there)
    fetch(server, path)
    assert path.read_bytes() == CONTENT and folder_of(path) == ["weights.pth"]
    path.write_bytes(b"damaged")
    fetch(server, path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("weird", [status(416), lambda h: h.answer(206, CONTENT, Content_Range="bytes 0-1/9")])
def test_a_range_that_is_refused_or_answered_wrongly_starts_over(
    server: Server, path: Path, weird: Callable[[Handler], None]
) -> None:
    server.plan = [cut_after(300_000), weird]
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert "Range" not in server.requests[2]


def test_other_bytes_are_deleted_and_said(server: Server, path: Path) -> None:
    def other(handler: Handler) -> None:
        honest(handler, content=CONTENT[:-1] + b"D")

    server.plan = [other]
    with pytest.raises(DownloadError, match=f"expected sha256 {SHA256}, got .*deleted"):
        fetch(server, path)
    assert folder_of(path) == [] and len(server.requests) == 1


def test_another_length_is_refused_before_it_is_read(server: Server, path: Path) -> None:
    server.plan = [lambda handler: honest(handler, content=CONTENT + b"!")]
    with pytest.raises(DownloadError, match=f"expected {len(CONTENT)} bytes, the server has {len(CONTENT) + 1}"):
        fetch(server, path)
    assert not path.exists()


def test_a_log_in_page_does_not_cost_what_is_there(server: Server, path: Path) -> None:
    server.plan = [cut_after(300_000), lambda handler: handler.answer(200, b"<html>Welcome to our hotel")]
    with pytest.raises(DownloadError, match="log-in"):
        fetch(server, path)
    assert path.with_name("weights.pth.part").stat().st_size == 300_000


def test_a_server_that_never_stops_is_left(server: Server, path: Path) -> None:
    stopped = threading.Event()

    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"10000\r\n" + bytes(65536) + b"\r\n")
        except OSError:
            handler.close_connection = True
            stopped.set()

    server.plan = [endless]
    with pytest.raises(DownloadError, match=f"more than the expected {len(CONTENT)} bytes"):
        fetch(server, path)
    assert stopped.wait(5) and folder_of(path) == []


def test_a_missing_file_is_said_at_once(server: Server, path: Path) -> None:
    server.plan = [status(404)]
    with pytest.raises(DownloadError, match="404 Not Found"):
        fetch(server, path)
    assert len(server.requests) == 1 and not path.exists()


def test_a_server_that_is_busy_for_a_moment_is_asked_again(server: Server, path: Path) -> None:
    server.plan = [status(503), status(429), lambda handler: setattr(handler, "close_connection", True)]
    fetch(server, path)
    assert path.read_bytes() == CONTENT and len(server.requests) == 4


def test_a_server_that_hangs_is_left_after_the_timeout(server: Server, path: Path) -> None:
    release = threading.Event()
    server.plan = [lambda handler: (cut_after(100_000)(handler), release.wait(10))]  # type: ignore[list-item]
    try:
        fetch(server, path, timeout_s=0.2)
    finally:
        release.set()
    assert path.read_bytes() == CONTENT


def test_without_a_network_it_gives_up_after_a_few_tries(server: Server, path: Path) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match=r"no connection: .*5 tries.*0 of \d+ bytes.*Check the network"):
        fetch(server, path)


def test_redirects_are_followed_but_not_to_where_nothing_is_encrypted(server: Server, path: Path) -> None:
    server.plan = [lambda handler: handler.answer(302, b"", Location="/elsewhere")]
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    path.unlink()
    server.plan = [lambda handler: handler.answer(302, b"", Location="http://example.com/weights.pth")]
    with pytest.raises(DownloadError, match=r"http://example.com/weights.pth: not an https address"):
        fetch(server, path)


@pytest.mark.parametrize("url", ["http://example.com/x", "file:///etc/passwd", "ftp://example.com/x", "weights.pth"])
def test_only_https_is_downloaded_from(url: str, path: Path) -> None:
    with pytest.raises(DownloadError, match="not an https address"):
        download(url, path, SHA256, len(CONTENT))
    assert not path.parent.exists()


def test_a_folder_that_cannot_be_made_is_said(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match=r"cache: .*XDG_CACHE_HOME"):
        fetch(server, tmp_path / "cache" / "weights.pth")
    assert server.requests == []


def test_a_folder_that_cannot_be_written_to_is_said(server: Server) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from seg_perception.model import download as d\n"
        "if os.geteuid() == 0:\n"
        "    os.setresuid(65534, 65534, 65534)\n"  # root may write everywhere
        "try:\n"
        "    d.download(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))\n"
        "except d.DownloadError as exc:\n"
        "    print(exc)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        said = run(code, server, Path(folder) / "weights.pth").stdout
    assert "weights.pth.part: Permission denied; make it writable, or set XDG_CACHE_HOME" in said
    assert server.requests == []


def test_a_full_disk_is_said_and_what_fitted_is_kept(server: Server, path: Path) -> None:
    """The kernel's own limit on a file's size stands in for the disk, in a process of its own."""
    code = (
        "import errno, resource, signal, sys\n"
        "from pathlib import Path\n"
        "from seg_perception.model import download as d\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
        "errno.ENOSPC = errno.EFBIG\n"
        "try:\n"
        "    d.download(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))\n"
        "except d.DownloadError as exc:\n"
        "    print(exc)\n"
    )
    said = run(code, server, path).stdout
    assert f"{len(CONTENT)} bytes are needed: free some" in said
    assert path.with_name("weights.pth.part").stat().st_size == 500_000
    fetch(server, path)
    assert path.read_bytes() == CONTENT and server.requests[-1]["Range"] == "bytes=500000-"


def test_processes_that_fetch_the_same_file_wait_for_each_other(server: Server, path: Path) -> None:
    def slow(handler: Handler) -> None:
        time.sleep(0.5)
        honest(handler)

    server.plan = [slow]
    command = command_of(PLAINLY, server, path)
    processes = [subprocess.Popen(command, cwd=REPO, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0], errors
    assert path.read_bytes() == CONTENT and folder_of(path) == ["weights.pth"]
    assert len(server.requests) == 1


def test_a_process_that_is_killed_leaves_its_lock_and_its_bytes_to_the_next(server: Server, path: Path) -> None:
    halfway, release = threading.Event(), threading.Event()

    def stuck(handler: Handler) -> None:
        cut_after(300_000)(handler)
        handler.wfile.flush()
        halfway.set()
        release.wait(30)

    server.plan = [stuck]
    process = subprocess.Popen(command_of(PLAINLY, server, path), cwd=REPO)
    part = path.with_name("weights.pth.part")
    assert halfway.wait(30)
    deadline = time.monotonic() + 30
    while part.stat().st_size < 300_000 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    release.set()
    fetch(server, path)
    assert path.read_bytes() == CONTENT and server.requests[-1]["Range"] == "bytes=300000-"
