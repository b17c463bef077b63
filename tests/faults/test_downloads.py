"""F13: a download that breaks is begun again; nothing half-written is ever used. F36: none goes on for ever."""

import dataclasses
import hashlib
import http.server
import io
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnlab.data.corpora import Published
from rnnlab.data.fetch import Patience, fetch, obtain
from rnnlab.errors import DataError

pytestmark = pytest.mark.faults

CONTENT = np.random.default_rng(0).integers(0, 256, 3_000_000, dtype=np.uint8).tobytes()
TINY = Published("tiny", "", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
QUICK = Patience(timeout=0.4, deadline=20.0, retries=3, backoff=0.01)


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(zipfile.ZipInfo("tiny"), content)
    return buffer.getvalue()


ARCHIVE = zipped(CONTENT)


class Handler(http.server.BaseHTTPRequestHandler):
    server: "Server"

    def do_GET(self) -> None:
        self.server.requests.append(self.headers)
        answers = self.server.answers
        answers[min(len(self.server.requests), len(answers)) - 1](self)

    def reply(self, body: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        """The length that is announced is that of `body` unless it is given."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.send(body)

    def send(self, body: bytes) -> None:
        for start in range(0, len(body), 1 << 16):
            self.wfile.write(body[start : start + (1 << 16)])
            self.server.sent += len(body[start : start + (1 << 16)])

    def log_message(self, *_: Any) -> None:
        pass


Answer = Callable[[Handler], None]


class Server(http.server.ThreadingHTTPServer):
    """Gives its answers in turn, and the last of them again to every request that follows."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = []
        self.requests: list[Any] = []
        self.sent = 0  # [bytes] of bodies
        self.sent_half = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is part of the play."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("RNNLAB_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


# What a server may answer


def whole(handler: Handler) -> None:
    handler.reply(ARCHIVE)


def cut(handler: Handler) -> None:
    """Half of what was announced, then the connection ends."""
    handler.reply(ARCHIVE[: len(ARCHIVE) // 2], length=len(ARCHIVE))
    handler.close_connection = True


def status(code: int) -> Answer:
    return lambda handler: handler.reply(b"", code)


def wrong_bytes(handler: Handler) -> None:
    handler.reply(zipped(CONTENT[:-1] + b"?"))


def stall(handler: Handler) -> None:
    cut(handler)
    handler.wfile.flush()
    time.sleep(1.0)


def trickle(handler: Handler) -> None:
    handler.reply(b"", length=len(ARCHIVE))
    while True:
        handler.send(b"P")
        handler.wfile.flush()
        time.sleep(0.1)


def circle(handler: Handler) -> None:
    there = "/b" if handler.path == "/a" else "/a"
    handler.reply(b"", 302, Location=there)


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.send(bytes(1 << 16))


FILE, NO_FILE = "file", "no file"
CASES: dict[str, tuple[list[Answer], str, float]] = {
    # what the server does: its answers, what comes of it, and how many times the archive's bytes it may send
    "cut_once": ([cut, whole], FILE, 1.55),
    "cut_three_times": ([cut, cut, cut, whole], FILE, 2.55),
    "cut_for_ever": ([cut], NO_FILE, 2.05),
    "503_twice": ([status(503), status(503), whole], FILE, 1.05),
    "503_for_ever": ([status(503)], NO_FILE, 0.0),
    "wrong_bytes": ([wrong_bytes], NO_FILE, 1.05),
    "stall": ([stall, whole], FILE, 1.55),
    "trickle": ([trickle], NO_FILE, 0.1),
    "redirect_loop": ([circle], NO_FILE, 0.0),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_download_ends_in_the_right_file_or_in_none(case: str, server: Server, tmp_path: Path) -> None:
    server.answers, outcome, times = CASES[case]
    patience = dataclasses.replace(QUICK, deadline=0.5) if case == "trickle" else QUICK
    cache = tmp_path / "cache"
    if outcome == FILE:
        assert obtain(TINY, url=f"{server.address}/tiny.zip", patience=patience).read_bytes() == CONTENT
        assert TINY.open().sha256 == TINY.sha256
    else:
        with pytest.raises(DataError, match=r"http://127\.0\.0\.1.*`rnnlab fetch tiny --from FILE`") as caught:
            obtain(TINY, url=f"{server.address}/tiny.zip", patience=patience)
        assert caught.value.exit_code == 3
        assert "\n" not in str(caught.value)
    left = {path.name for path in cache.iterdir()} - {"stamps", ".tiny.lock"}
    assert left == ({"tiny"} if outcome == FILE else set())
    assert server.sent <= times * len(ARCHIVE)
    assert len(server.requests) <= 16


# Beyond the matrix


def test_a_stream_without_end_is_stopped(server: Server, tmp_path: Path) -> None:
    server.answers = [endless]
    with pytest.raises(DataError, match="the server sends more than tiny itself has"):
        obtain(TINY, url=f"{server.address}/tiny.zip", patience=QUICK)
    assert not list((tmp_path / "cache").glob("tiny*"))


def test_an_announced_excess_is_refused_unread(server: Server) -> None:
    server.answers = [lambda handler: handler.reply(b"", length=10**12)]
    with pytest.raises(DataError, match="announces 1,000,000,000,000 bytes, more than tiny itself has"):
        obtain(TINY, url=f"{server.address}/tiny.zip", patience=QUICK)


@pytest.mark.parametrize("length", ["-5", "²", "9" * 5000, "many"])
def test_a_length_that_is_none_is_ignored(server: Server, length: str) -> None:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", length)
        handler.end_headers()
        handler.send(ARCHIVE)

    server.answers = [answer]
    try:
        path = obtain(TINY, url=f"{server.address}/tiny.zip", patience=QUICK)
    except DataError:
        return
    assert path.read_bytes() == CONTENT


def test_a_missing_file_is_asked_for_once(server: Server) -> None:
    server.answers = [status(404)]
    with pytest.raises(DataError, match="the server answers 404 Not Found"):
        obtain(TINY, url=f"{server.address}/tiny.zip", patience=QUICK)
    assert len(server.requests) == 1


def test_redirects_lead_on_but_not_away_from_the_web(server: Server) -> None:
    server.answers = [lambda handler: handler.reply(b"", 302, Location="/elsewhere"), whole]
    assert obtain(TINY, url=f"{server.address}/tiny.zip", patience=QUICK).read_bytes() == CONTENT
    server.requests.clear()
    server.answers = [lambda handler: handler.reply(b"", 302, Location="file:///etc/passwd")]
    with pytest.raises(DataError, match="away from the web"):
        obtain(Published("other", "", TINY.size, TINY.sha256), url=f"{server.address}/tiny.zip", patience=QUICK)


def test_a_mirror_takes_the_place_of_the_publisher(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNLAB_MIRROR", f"{server.address}/mirror/")
    server.answers = [whole]
    with pytest.raises(
        DataError, match=r"/mirror/enwik8\.zip: .*holds 'tiny', where the one file 'enwik8' was expected"
    ):
        fetch("enwik8")


def test_a_raw_file_may_be_downloaded_too(server: Server) -> None:
    server.answers = [lambda handler: handler.reply(CONTENT)]
    assert obtain(TINY, url=f"{server.address}/tiny", patience=QUICK).read_bytes() == CONTENT


def fetching(server: Server, cache: Path, largest_file: int | None = None) -> "subprocess.Popen[str]":
    command = (
        "from rnnlab.data.corpora import Published\nfrom rnnlab.data.fetch import obtain\n"
        f"obtain(Published('tiny', '', {TINY.size}, '{TINY.sha256}'), url='{server.address}/tiny.zip')"
    )
    environment = os.environ | {"RNNLAB_DATA": str(cache), "OMP_NUM_THREADS": "1"}
    limit = largest_file or resource.RLIM_INFINITY
    return subprocess.Popen(
        [sys.executable, "-c", command],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY)),
    )


def test_a_killed_download_leaves_nothing_and_is_begun_again(server: Server, tmp_path: Path) -> None:
    held = threading.Event()

    def hold(handler: Handler) -> None:
        cut(handler)
        handler.wfile.flush()
        server.sent_half.set()
        held.wait(30)

    server.answers = [hold, whole]
    process = fetching(server, tmp_path / "cache")
    assert server.sent_half.wait(60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    held.set()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".tiny.lock"]
    assert obtain(TINY, url=f"{server.address}/tiny.zip", patience=QUICK).read_bytes() == CONTENT


def test_a_full_disk_ends_the_download_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.answers = [whole]
    process = fetching(server, tmp_path / "cache", largest_file=1_000_000)
    assert "cannot be written: file too large; free space, or set RNNLAB_DATA" in process.communicate(timeout=60)[1]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".tiny.lock"]
    assert len(server.requests) == 1


def test_two_processes_download_once_and_say_nothing_off_a_terminal(server: Server, tmp_path: Path) -> None:
    started = threading.Barrier(2, timeout=60)

    def slow(handler: Handler) -> None:
        started.wait()
        time.sleep(0.5)
        whole(handler)

    server.answers = [slow]
    first = fetching(server, tmp_path / "cache")
    started.wait()
    second = fetching(server, tmp_path / "cache")
    errors = [process.communicate(timeout=60)[1] for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], errors
    assert len(server.requests) == 1
    assert errors[0] == ""
    assert errors[1] == "" or " is making tiny in " in errors[1]


def test_a_server_that_is_not_there_is_given_up_soon(server: Server) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DataError, match=r"refused, and 3 retries changed nothing"):
        obtain(TINY, url=f"http://127.0.0.1:{port}/tiny.zip", patience=QUICK)


# Without an end


def slowly(start: bytes, then: bytes) -> Answer:
    """The start of an answer, and a byte every twentieth of a second for as long as somebody listens."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(start)
        while True:
            handler.wfile.write(then)
            time.sleep(0.05)

    return answer


def endlessly(start: bytes, then: bytes) -> Answer:
    def answer(handler: Handler) -> None:
        handler.wfile.write(start)
        while True:
            handler.wfile.write(then * 1000)
            handler.server.sent += len(then * 1000)

    return answer


def ever_on(handler: Handler) -> None:
    handler.reply(b"", 302, Location=f"/{len(handler.server.requests)}")


def to(place: str) -> Answer:
    return lambda handler: handler.reply(b"", 302, Location=place)


OK, CHUNKED = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TOO_SLOW = r"less than 1,000 bytes/s over 0\.5 s, and 1 retries changed nothing"
ENDLESS: dict[str, tuple[Answer, str]] = {
    "a trickle of a status line": (slowly(b"", b"H"), TOO_SLOW),
    "a trickle of headers": (slowly(OK, b"X"), TOO_SLOW),
    "a trickle of the body": (slowly(OK + b"\r\n", b"X"), TOO_SLOW),
    "a trickle of the length of a chunk": (slowly(CHUNKED + b"1;", b"x"), TOO_SLOW),
    "the promise to go on": (endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), TOO_SLOW),
    "lines behind the body": (endlessly(CHUNKED + b"0\r\n", b"A: b\r\n"), TOO_SLOW),
    "a million headers": (endlessly(OK, b"A: b\r\n"), "got more than 100 headers"),
    "a header without end": (endlessly(OK + b"A: ", b"b" * 1000), "header line"),
    "a body of a redirect": (
        endlessly(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b"x" * 1000),
        "redirects in a circle",
    ),
    "redirects to ever new places": (ever_on, "redirects in a circle, too often"),
    "a redirect to what is not watched": (to("ftp://127.0.0.1:9/tiny"), "away from the web"),
    "a redirect to no address": (to("http://[tiny"), "Invalid IPv6 URL, and 1 retries"),
    "a redirect to no name": (to("http://a..b/"), "and 1 retries"),
    "a call to wait": (
        lambda handler: handler.reply(b"", 503, **{"Retry-After": "1000000000"}),
        "503 Service Unavailable",
    ),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_f36_a_download_without_an_end_is_ended_and_the_limit_named(case: str, server: Server) -> None:
    answer, told = ENDLESS[case]
    server.answers = [answer]
    patience = dataclasses.replace(QUICK, window=0.5, timeout=5.0, retries=1)
    began = time.monotonic()
    with pytest.raises(DataError, match=told) as caught:
        obtain(TINY, url=f"{server.address}/tiny.zip", patience=patience)
    assert time.monotonic() - began < 15
    assert "\n" not in str(caught.value)
    if "redirect" in case:
        assert server.sent < 50e6, "what comes with a redirect is not read"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="nothing makes a certificate here")
def test_f36_a_trickle_through_tls_is_ended_too(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = str(tmp_path / "key"), str(tmp_path / "certificate")
    made = [
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-keyout",
        key,
        "-out",
        certificate,
    ]
    named = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", "req", "-x509", *made, *named], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    url = f"{server.address.replace('http', 'https')}/tiny.zip"
    patience = dataclasses.replace(QUICK, window=0.5, timeout=5.0, retries=1)
    server.answers = [slowly(OK, b"X")]
    with pytest.raises(DataError, match=TOO_SLOW):
        obtain(TINY, url=url, patience=patience)
    server.answers = [whole]
    assert obtain(TINY, url=url, patience=patience).read_bytes() == CONTENT


def test_a_server_that_is_slow_but_not_too_slow_is_waited_for(server: Server) -> None:
    def steady(handler: Handler) -> None:
        handler.reply(b"", length=len(ARCHIVE))
        for start in range(0, len(ARCHIVE), 200_000):
            handler.send(ARCHIVE[start : start + 200_000])
            time.sleep(0.1)

    server.answers = [steady]
    patience = dataclasses.replace(QUICK, window=0.3, retries=0)
    assert obtain(TINY, url=f"{server.address}/tiny.zip", patience=patience).read_bytes() == CONTENT


# What is said of it


@pytest.mark.parametrize("status", [b"404 \x1b]0;owned\x07\x1b[2J", b"\x1b[2J", b"404 " + b"x" * 60_000])
def test_what_a_server_says_commands_no_terminal_and_is_cut(server: Server, status: bytes) -> None:
    server.answers = [lambda handler: handler.wfile.write(b"HTTP/1.1 " + status + b"\r\n\r\n")]
    with pytest.raises(DataError) as caught:
        obtain(TINY, url=f"{server.address}/tiny.zip", patience=dataclasses.replace(QUICK, retries=0))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "mirror",
    [
        "http://user:secret@127.0.0.1:9",
        "http://secret@h/",
        "ftp://user:secret@h/",
        "user:secret@h",
        "http://u:a/secret@h",
    ],
)
def test_f33_a_password_in_the_address_of_a_mirror_is_not_shown(
    server: Server, monkeypatch: pytest.MonkeyPatch, mirror: str
) -> None:
    monkeypatch.setenv("RNNLAB_MIRROR", mirror)
    with pytest.raises(DataError, match="RNNLAB_MIRROR has an @ in it") as caught:
        fetch("enwik8")
    assert "secret" not in str(caught.value)


def test_an_address_that_is_none_is_refused_in_a_line(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNLAB_MIRROR", "http://[mirror")
    with pytest.raises(DataError, match="is no http or https address; correct RNNLAB_MIRROR"):
        fetch("enwik8")
