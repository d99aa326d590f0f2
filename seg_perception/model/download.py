"""One pinned file over HTTPS: resumed where it broke off, checked against its sha256, moved into place whole.

What arrives is bytes and stays bytes: nothing here unpacks, unpickles or runs any of it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import http.client
import logging
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from seg_perception import __version__
from seg_perception.errors import DownloadError

__all__ = ["download", "is_whole"]

_log = logging.getLogger(__name__)

_CHUNK_BYTES = 64 * 1024
_TRIES = 5
"""In a row that bring less than a chunk."""
_LONGEST_PAUSE_S = 8.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)


def is_whole(path: Path, sha256: str, size_bytes: int) -> bool:
    """Whether the file is there with that size and sha256; False if it cannot be read."""
    try:
        with FileIO(path) as file:
            return _size(file) == size_bytes and _sha256(file) == sha256
    except OSError:
        return False


def download(
    url: str,
    path: Path,
    sha256: str,
    size_bytes: int,
    progress: Callable[[int], None] | None = None,
    timeout_s: float = 30.0,
    pause_s: float = 1.0,
) -> None:
    """Have the file `url` at `path`, with exactly these bytes; at once if it is there already.

    Until it is whole it lies beside, as `<path>.part`; a later call goes on from there. Processes that fetch
    the same file wait for each other.

    Args:
        url: https, or http on this machine.
        path: its folder is made.
        sha256, size_bytes: of the whole file; nothing longer is ever written.
        progress: called with the bytes that are there so far.
        timeout_s: of every single wait for the server.
        pause_s: before the second try after a broken connection; doubled for every further one.

    Raises:
        DownloadError: no network, no such file, not those bytes, or nowhere to put them; with what to do.
    """
    _check_scheme(url)
    if is_whole(path, sha256, size_bytes):
        return
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(part) as file:
            if is_whole(path, sha256, size_bytes):  # brought by the process that held the lock
                part.unlink()
                return
            transfer = _Transfer(url, part, file, size_bytes, timeout_s, pause_s)
            transfer.progress = progress or transfer.progress
            transfer.fill_and_verify(sha256)
            os.fsync(file.fileno())
            os.replace(part, path)
    except OSError as exc:  # the network's own errors never get this far
        where = f"{exc.filename or part}: {exc.strerror or exc}"
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(f"{where}; {size_bytes} bytes are needed: free some and run it again") from exc
        raise DownloadError(f"{where}; make it writable, or set XDG_CACHE_HOME to a folder that is") from exc


class _BrokenOffError(Exception):
    """The connection failed or ended early: worth another try."""


class _StartOverError(Exception):
    """What is there already cannot be the beginning of what the server has."""


class _Transfer:
    """From a server into an open and locked file."""

    def __init__(self, url: str, part: Path, file: FileIO, size_bytes: int, timeout_s: float, pause_s: float) -> None:
        self.url, self.part, self.file, self.size_bytes = url, part, file, size_bytes
        self.timeout_s, self.pause_s = timeout_s, pause_s
        self.progress: Callable[[int], None] = lambda done: None
        self._etag: str | None = None

    def fill_and_verify(self, sha256: str) -> None:
        """What an earlier call left may be the beginning of another file: that is worth one fresh start."""
        inherited = 0 < _size(self.file) <= self.size_bytes
        if not inherited:
            self.file.truncate(0)
        self._fill()
        digest = _sha256(self.file)
        if digest != sha256 and inherited:
            _log.warning("%s: what an earlier download left does not fit; downloading it from the start", self.part)
            self.file.truncate(0)
            self._fill()
            digest = _sha256(self.file)
        if digest != sha256:
            self.part.unlink()
            raise DownloadError(
                f"{self.url}: expected sha256 {sha256}, got {digest}; the download was deleted. Try again; if it "
                "stays so, the server has another file, or something on the way changes it"
            )

    def _fill(self) -> None:
        """Go on until the file has its size, over as many connections as that takes."""
        failures = 0
        while (before := _size(self.file)) < self.size_bytes:
            try:
                self.progress(before)
                self._receive()
                problem = "the connection ended early"
            except _StartOverError:
                self.file.truncate(0)
                problem = "the server cannot go on where the download stopped"
            except _BrokenOffError as exc:
                problem = str(exc)
            done = _size(self.file)
            if done == self.size_bytes:
                return
            failures = 0 if done - before >= _CHUNK_BYTES else failures + 1
            if failures == _TRIES:
                raise DownloadError(
                    f"{self.url}: {problem} ({failures} tries); {done} of {self.size_bytes} bytes are here and kept. "
                    "Check the network (and https_proxy, where one is needed) and run it again"
                )
            pause_s = min(self.pause_s * 2 ** max(0, failures - 1), _LONGEST_PAUSE_S)
            _log.warning("%s: %s; trying again in %.0f s", self.part.stem, problem, pause_s)
            time.sleep(pause_s)

    def _receive(self) -> None:
        """Append what one connection brings.

        Raises:
            _BrokenOffError, _StartOverError, DownloadError
        """
        done = _size(self.file)
        with self._open(done) as answer:
            self._check_answer(answer, done)
            if answer.status != 206:  # the server ignores ranges, or has another version by now
                self.file.truncate(0)
                done = 0
            etag = answer.headers.get("ETag", "")
            self._etag = etag if etag.startswith('"') else None  # a weak one says nothing about bytes
            self.file.seek(done)
            while chunk := _read(answer):
                done += len(chunk)
                if done > self.size_bytes:
                    self.part.unlink()
                    raise DownloadError(
                        f"{self.url}: more than the expected {self.size_bytes} bytes; the download was deleted. The "
                        "server has another file"
                    )
                _write(self.file, chunk)
                self.progress(done)

    def _open(self, start: int) -> http.client.HTTPResponse:
        """The server's answer: 200, or 206 with what follows `start` bytes."""
        headers = {"User-Agent": f"seg_perception/{__version__}", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if self._etag:
                headers["If-Range"] = self._etag
        request = urllib.request.Request(self.url, headers=headers)
        try:
            answer: http.client.HTTPResponse = urllib.request.build_opener(_SafeRedirects).open(
                request, timeout=self.timeout_s
            )
            return answer
        except urllib.error.HTTPError as exc:
            exc.close()
            if exc.code == 416:
                raise _StartOverError from exc
            problem = f"the server answers {exc.code} {exc.reason}"
            if exc.code in _TRY_AGAIN:
                raise _BrokenOffError(problem) from exc
            raise DownloadError(f"{self.url}: {problem}") from exc
        except urllib.error.URLError as exc:
            if isinstance(exc.reason, ssl.SSLCertVerificationError):
                raise DownloadError(
                    f"{self.url}: the certificate cannot be verified ({exc.reason.verify_message}); check this "
                    "machine's clock and CA certificates"
                ) from exc
            raise _BrokenOffError(f"no connection: {getattr(exc.reason, 'strerror', None) or exc.reason}") from exc
        except (OSError, http.client.HTTPException) as exc:
            raise _BrokenOffError(f"no answer: {exc or type(exc).__name__}") from exc

    def _check_answer(self, answer: http.client.HTTPResponse, start: int) -> None:
        """Whether it can be the pinned file, before anything of it is kept or anything kept is given up."""
        encoding = answer.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise DownloadError(f"{self.url}: sent compressed ({encoding}), although asked not to")
        total = answer.headers.get("Content-Length", "")
        if answer.status == 206:
            span, _, total = answer.headers.get("Content-Range", "").partition("/")
            if span.split("-")[0].removeprefix("bytes").strip() != str(start):
                raise _StartOverError
        if total.isdigit() and int(total) != self.size_bytes:
            raise DownloadError(
                f"{self.url}: expected {self.size_bytes} bytes, the server has {total}: another file, or a page that "
                "wants a log-in"
            )


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_scheme(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise DownloadError(f"{url}: not an https address; nothing else is downloaded from")


@contextmanager
def _locked(part: Path) -> Iterator[FileIO]:
    """The file, made if need be, for this process alone. The lock goes with the process, however that ends."""
    while True:
        with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.warning("%s: another process is downloading it; waiting", part)
                fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever had the lock may have moved or deleted the file that this is.
            if _is_at(file, part):
                yield file
                return


def _is_at(file: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read1(_CHUNK_BYTES)  # what is there: nothing that has arrived is lost by a break
    except http.client.IncompleteRead as exc:
        return exc.partial
    except (OSError, http.client.HTTPException) as exc:
        raise _BrokenOffError(f"the connection broke: {exc or type(exc).__name__}") from exc


def _write(file: FileIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:  # unbuffered: a disk that is almost full takes a part
        rest = rest[file.write(rest) :]


def _size(file: FileIO) -> int:
    return os.fstat(file.fileno()).st_size


def _sha256(file: FileIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()
