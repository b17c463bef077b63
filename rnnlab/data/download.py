"""A file from the web, with a limit to everything: its bytes, the time it takes, and how slowly it may come.

A socket's timeout begins anew with every byte, and a server can send headers, or lines that belong to no body, without
an end. Hence a thread beside each attempt, which ends the connection if too little of the body comes. An attempt that
breaks is begun again.
"""

import http.client
import socket
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

from tqdm import tqdm

from rnnlab import __version__, cache
from rnnlab.data.publication import cache_errors
from rnnlab.errors import DataError
from rnnlab.safe_text import escaped

BLOCK = 1 << 16  # [bytes]
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP answers that may differ the next time."""
SHOWN = 200  # characters of what a server says


@dataclass(frozen=True)
class Patience:
    """How long a download is tried before it is given up."""

    timeout: float = 30.0  # without a byte [s]
    least_speed: float = 1000.0  # of the body [bytes/s]
    window: float = 30.0  # over which that is measured [s]; the headers come within the first
    deadline: float = 3600.0  # for all attempts together [s]
    retries: int = 4
    backoff: float = 1.0  # before the first retry, doubled for each that follows [s]


PATIENT = Patience()


class Unusable(DataError):
    """What came is not what was asked for, or nothing came."""


def download(name: str, url: str, file: IO[bytes], most: int, patience: Patience) -> None:
    """Write what lies at an address into a file.

    Args:
        name: what it is, for messages.
        file: an empty or a used one, in the cache.
        most: how much may come [bytes].
    Raises: Unusable, with what the limit was or what the server said; DataError if the address cannot be one, or the
        file cannot be written.
    """
    _check(url)
    until, reason = time.monotonic() + patience.deadline, ""
    for attempt in range(patience.retries + 1):
        if attempt:
            if sys.stderr.isatty():
                tqdm.write(f"{name}: {reason}; trying again", file=sys.stderr)
            time.sleep(patience.backoff * 2 ** (attempt - 1))
        try:
            with _guarded(patience, until) as guard:
                return _receive(name, url, file, most, patience.timeout, guard)
        except urllib.error.HTTPError as error:
            error.close()
            if 300 <= error.code < 400:
                raise Unusable("the address redirects in a circle, too often, or away from the web") from None
            reason = f"the server answers {error.code} {_shown(error.reason)}"
            if error.code not in RETRIED:
                raise Unusable(reason) from None
        except (http.client.HTTPException, OSError, ValueError) as error:  # ValueError: a redirect to no address
            reason = _shown(getattr(error, "reason", "") or error) or type(error).__name__
            if time.monotonic() >= until:
                raise Unusable(reason) from None
    raise Unusable(f"{reason}, and {patience.retries} retries changed nothing")


def _check(url: str) -> None:
    """Raises: DataError, in which no password is to be seen: it could stand anywhere before an @."""
    if "@" in url:
        raise DataError(
            "RNNLAB_MIRROR has an @ in it, but no user or password would be sent; name an address without them, and "
            "write an @ of the path as %40"
        )
    with suppress(ValueError):
        if urllib.parse.urlsplit(url).scheme in ("http", "https"):
            return
    raise DataError(f"{url!r} is no http or https address; correct RNNLAB_MIRROR")


def _shown(said: object) -> str:
    """What a server said, as a line may show it."""
    return escaped(" ".join(str(said).split())[:SHOWN])


def _receive(name: str, url: str, file: IO[bytes], most: int, timeout: float, guard: "_Guard") -> None:
    with cache_errors(cache.folder()):
        file.seek(0)
        file.truncate()
    request = urllib.request.Request(url, headers={"User-Agent": f"rnnlab/{__version__}"})
    opener = urllib.request.build_opener(_Web(guard), _Redirects)
    with opener.open(request, timeout=timeout) as response:
        total = response.length
        if total is not None and total > most:
            raise Unusable(f"the server announces {total:,} bytes, more than {name} itself has")
        with tqdm(total=total, unit="B", unit_scale=True, desc=name, disable=None) as bar:
            while block := response.read1(BLOCK):
                guard.received += len(block)
                if guard.received > most:
                    raise Unusable(f"the server sends more than {name} itself has")
                with cache_errors(cache.folder()):
                    file.write(block)
                bar.update(len(block))
    if total is not None and guard.received < total:
        raise ConnectionError(f"the connection ended at byte {guard.received:,} of {total:,}")


class _Guard:
    """Ends an attempt that is too slow, whatever it waits for."""

    def __init__(self, patience: Patience, until: float) -> None:
        self.received = 0  # [bytes] of the body
        self.verdict = ""  # why it was ended
        self.connected: socket.socket | None = None  # of the connection of the moment: a redirect makes another
        self.over = threading.Event()
        self._patience, self._until = patience, until

    def look(self) -> None:
        """Until the attempt is over, of itself or because it is ended here."""
        patience = self._patience
        while not self.verdict:
            before = self.received
            if self.over.wait(min(patience.window, max(0.0, self._until - time.monotonic()))):
                return
            if time.monotonic() >= self._until:
                self.verdict = f"not done after {patience.deadline:g} s, with {self.received:,} bytes received"
            elif self.received - before < patience.least_speed * patience.window:
                self.verdict = f"less than {patience.least_speed:,.0f} bytes/s over {patience.window:g} s"
        while not self.over.wait(0.05):  # again and again: a connection that is being made has no socket yet
            if self.connected is not None:
                with suppress(OSError):  # not the method of an SSL socket, which is in use by another thread
                    socket.socket.shutdown(self.connected, socket.SHUT_RDWR)


@contextmanager
def _guarded(patience: Patience, until: float) -> Iterator[_Guard]:
    """Raises: TimeoutError if the block was ended for being too slow."""
    guard = _Guard(patience, until)
    thread = threading.Thread(target=guard.look, daemon=True)
    thread.start()
    try:
        yield guard
    except (http.client.HTTPException, OSError):
        if not guard.verdict:
            raise
    finally:
        guard.over.set()
        thread.join()
    if guard.verdict:
        raise TimeoutError(guard.verdict)


class _Web(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Tells the guard each connection that is made."""

    def __init__(self, guard: _Guard) -> None:
        super().__init__()
        self._guard = guard

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._guarded(http.client.HTTPConnection), req)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._guarded(http.client.HTTPSConnection), req)

    def _guarded(self, kind: Any) -> Any:
        guard = self._guard

        class Guarded(kind):  # type: ignore[misc]
            def connect(self) -> None:
                super().connect()
                guard.connected = self.sock

        return Guarded


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Leads on to other addresses of the web, and reads nothing of what comes with that: it may have no end."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        fp.close()
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if newurl.startswith(("http:", "https:")):  # FTP would not be guarded
            return super().redirect_request(req, fp, code, msg, headers, newurl)
        return None
