"""Bring a published corpus into the cache: download with resume, unpack with suspicion, publish only the right bytes.

Nothing that a server or an archive says is believed: sizes are bounded, names inside an archive are never used as
paths, and a file takes its place only once its SHA-256 is the published one.
"""

import contextlib
import http.client
import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from rnnlab import __version__
from rnnlab.data import hashes
from rnnlab.data.corpora import PUBLISHED, Published, build_python_stdlib
from rnnlab.data.publication import making, publication
from rnnlab.errors import DataError
from rnnlab.registry import did_you_mean

BLOCK = 1 << 16  # [bytes]
ARCHIVE_SLACK = 1 << 20
"""What an archive may be larger than its content [bytes]: headers, and data that does not compress."""
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP answers that may differ the next time."""


@dataclass(frozen=True)
class Patience:
    """How long a download is tried before it is given up."""

    timeout: float = 30.0  # without a byte [s]
    retries: int = 4  # in a row that brought nothing worth the name
    backoff: float = 1.0  # before the first retry, doubled for each that follows [s]
    longest_wait: float = 30.0  # [s]


def fetch(name: str, source: str | os.PathLike[str] | None = None) -> Path:
    """Where the corpus `name` lies in the cache, bringing it there if need be.

    Args:
        name: enwik8, text8 or python_stdlib.
        source: a zip or a raw file that is already here, in place of the download.
    `RNNLAB_MIRROR` names a folder on the web that holds NAME.zip, in place of the publisher's.
    Raises: DataError if there is no such corpus, or what came is not it.
    """
    key = name.lower().replace("-", "_")
    if key == "python_stdlib" and source is None:
        return build_python_stdlib()
    if key not in PUBLISHED:
        hint = did_you_mean(name, PUBLISHED) or "; a file needs no fetching: train with --corpus FILE"
        raise DataError(f"nothing to fetch under the name {name!r} ({', '.join(PUBLISHED)}){hint}")
    published = PUBLISHED[key]
    mirror = os.environ.get("RNNLAB_MIRROR")
    url = f"{mirror.rstrip('/')}/{key}.zip" if mirror else published.url
    return obtain(published, source, url=url)


def obtain(
    published: Published,
    source: str | os.PathLike[str] | None = None,
    *,
    url: str | None = None,
    patience: Patience = Patience(),
) -> Path:
    """Publish a corpus in the cache from `source`, or else from `url`, and return its path.

    Raises: DataError, after which the cache holds what it held before and at most the part that was downloaded.
    """
    with making(published.name) as root:
        target = root / published.name
        if target.is_file() and hashes.sha256(target)[1] == published.sha256:
            return target
        if source is not None:
            _publish(published, Path(os.path.abspath(os.path.expanduser(source))), target)
            return target
        archive = root / f"{published.name}.part"
        download = _Download(published, url or published.url, archive, patience)
        pieced = archive.exists()
        download.complete()
        try:
            _publish(published, archive, target)
        except _WrongContent as error:
            download.discard()
            if not (pieced or download.attempts > 1):
                raise download.failure(str(error)) from None
            download.complete()  # its pieces may have come from two versions: once more, in one go
            try:
                _publish(published, archive, target)
            except _WrongContent as again:
                download.discard()
                raise download.failure(str(again)) from None
        download.discard()
        return target


class _WrongContent(DataError):
    """A file that is not the corpus and never will be."""


def _remedy(published: Published) -> str:
    return f"try again later, or get the file another way and `rnnlab fetch {published.name} --from FILE`"


def _publish(published: Published, source: Path, target: Path) -> None:
    """Raises: DataError, with the target left as it was, if `source` is not the corpus."""
    with publication(target) as file:
        for block in _content(published, source):
            file.write(block)
            if file.size > published.size:
                raise _WrongContent(f"{source} unpacks to more than the {published.size:,} bytes of {published.name}")
        if file.sha256 != published.sha256:
            raise _WrongContent(
                f"{source} is not {published.name}: {file.size:,} bytes with SHA-256 {file.sha256}, "
                f"where {published.size:,} with {published.sha256} were published"
            )


def _content(published: Published, source: Path) -> Iterator[bytes]:
    """The bytes of a raw file, or of the one member of a zip."""
    size = hashes.stamp(source).size
    try:
        with open(source, "rb") as file:
            if file.read(2) == b"PK":
                yield from _member(published, source, file, size)
                return
            if size != published.size:
                raise _WrongContent(
                    f"{source} ({size:,} bytes) is neither a zip nor the {published.size:,} bytes of {published.name}"
                )
            file.seek(0)
            while block := file.read(BLOCK):
                yield block
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror or error}") from None


def _member(published: Published, source: Path, file: IO[bytes], size: int) -> Iterator[bytes]:
    if size > published.size + ARCHIVE_SLACK:
        raise _WrongContent(f"{source} ({size:,} bytes) is larger than {published.name} itself; it is not its archive")
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) != 1 or members[0].filename != published.name:
                names = ", ".join(repr(member.filename) for member in members[:3]) or "nothing"
                raise _WrongContent(f"{source} holds {names}, where the one file {published.name!r} was expected")
            member = members[0]
            if member.file_size != published.size:
                raise _WrongContent(
                    f"{source} announces {member.file_size:,} bytes for {published.name}, which has {published.size:,}"
                )
            # bzip2 and lzma are unpacked a block at a time, however large it gets
            if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _WrongContent(
                    f"{source} is encrypted or packed in an uncommon way; unpack it and name the raw file"
                )
            with archive.open(member) as content:
                while block := content.read(BLOCK):
                    yield block
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise _WrongContent(f"{source} is a damaged zip: {error or 'it ends early'}") from None


class _Retry(Exception):
    """An attempt that failed in a way that another may not."""


class _Download:
    """A file on its way from `url` to `path`, which also holds what earlier attempts brought."""

    def __init__(self, published: Published, url: str, path: Path, patience: Patience) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise DataError(f"{url!r} is no http or https address; correct RNNLAB_MIRROR")
        self.url = url
        self.attempts = 0
        self._published = published
        self._path = path
        self._origin = path.with_name(path.name + ".json")  # of the part: its address and the validator of its version
        self._limit = published.size + ARCHIVE_SLACK
        self._patience = patience
        self._opener = urllib.request.build_opener(_Redirects)

    def complete(self) -> None:
        """Raises: DataError once patience is spent or the answer will not change."""
        best, failures = self._have(), 0
        while True:
            self.attempts += 1
            try:
                return self._attempt()
            except (_Retry, urllib.error.URLError, http.client.HTTPException, OSError) as error:
                reason = self._retriable(error)
            # a trickle is no progress, or a server could hold us for as long as it likes
            failures = 0 if self._have() >= best + BLOCK else failures + 1
            best = max(best, self._have())
            if failures > self._patience.retries:
                raise self.failure(f"{reason}, and {self._patience.retries} retries changed nothing")
            if sys.stderr.isatty():
                tqdm.write(f"{self._published.name}: {reason}; trying again", file=sys.stderr)
            time.sleep(min(self._patience.backoff * 2 ** max(failures - 1, 0), self._patience.longest_wait))

    def _retriable(self, error: Exception) -> str:
        """What went wrong, if it may go right the next time.

        Raises: DataError if it will not.
        """
        if not isinstance(error, urllib.error.HTTPError):
            return str(getattr(error, "reason", "") or error or type(error).__name__)
        error.close()
        if 300 <= error.code < 400:
            raise self.failure("the address redirects in a circle, too often, or away from the web")
        answer = f"the server answers {error.code} {error.reason}"
        if error.code == 416:
            self.discard()  # there is less of the file than we have
        elif error.code not in RETRIED:
            raise self.failure(answer)
        return answer

    def discard(self) -> None:
        for path in (self._path, self._origin):
            path.unlink(missing_ok=True)

    def _attempt(self) -> None:
        have = self._have()
        if have and have == self._noted().get("size"):
            return  # complete, but the process ended before it was published
        with self._opener.open(self._request(have), timeout=self._patience.timeout) as response:
            if response.status == 206:
                total = self._continued(response.headers, have)
            elif response.status == 200:
                have, total = 0, _number(response.headers.get("Content-Length"))
            else:
                raise self.failure(f"the server answers {response.status} {response.reason}")
            if total is not None and total > self._limit:
                raise self.failure(f"the server announces {total:,} bytes, more than {self._published.name} itself has")
            self._note(response.headers, total)
            received = self._receive(response, have, total)
        if total is not None and received < total:
            raise _Retry(f"the connection ended at byte {received:,} of {total:,}")

    def _request(self, have: int) -> urllib.request.Request:
        request = urllib.request.Request(self.url, headers={"User-Agent": f"rnnlab/{__version__}"})
        if have:
            request.add_header("Range", f"bytes={have}-")
            validator = self._noted().get("validator")
            if validator:
                request.add_header("If-Range", validator)  # another version is then sent whole, not continued
        return request

    def _continued(self, headers: Message, have: int) -> int | None:
        """The size of the whole file, if the answer continues the part that is here.

        Raises: _Retry, with the part thrown away, if it does not.
        """
        match = re.fullmatch(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15}|\*)", headers.get("Content-Range", "").strip())
        validator, ours = _validator_of(headers), self._noted().get("validator")
        if match is None or int(match[1]) != have or (validator and ours and validator != ours):
            self.discard()
            raise _Retry("the server continued with another stretch than was asked for")
        return _number(match[2])

    def _receive(self, response: http.client.HTTPResponse, have: int, total: int | None) -> int:
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=self._published.name, disable=None)
        with bar, self._written(have) as file:
            while block := response.read1(BLOCK):
                have += len(block)
                if have > self._limit:
                    self.discard()
                    raise self.failure(f"the server sends more than {self._published.name} itself has")
                try:
                    file.write(block)
                    file.flush()  # so that a killed download goes on from here
                except OSError as error:
                    raise self._unwritable(error) from None
                bar.update(len(block))
        return have

    @contextlib.contextmanager
    def _written(self, have: int) -> Iterator[IO[bytes]]:
        try:
            file = open(self._path, "ab" if have else "wb")  # noqa: SIM115  (closed below)
        except OSError as error:
            raise self._unwritable(error) from None
        with file:
            yield file

    def _have(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

    def _noted(self) -> dict[str, Any]:
        """What is known of the part that is here: validator and size of the whole; empty if it is from elsewhere."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            noted = json.loads(self._origin.read_text())
            if noted["url"] == self.url:
                return dict(noted)
        return {}

    def _note(self, headers: Message, total: int | None) -> None:
        noted = {"url": self.url, "validator": _validator_of(headers), "size": total}
        with contextlib.suppress(OSError):  # without it a part is continued unconditionally, and its hash decides
            self._origin.write_text(json.dumps(noted))

    def failure(self, reason: str) -> DataError:
        return DataError(f"{self.url}: {reason}; {_remedy(self._published)}")

    def _unwritable(self, error: OSError) -> DataError:
        return DataError(f"{self._path} cannot be written: {error.strerror or error}; free space or set RNNLAB_DATA")


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,15}", text) else None


def _validator_of(headers: Message) -> str:
    """A strong ETag, or else the date; a weak ETag does not vouch for bytes."""
    tag = str(headers.get("ETag") or "")
    return tag if tag.startswith('"') else str(headers.get("Last-Modified") or "")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow few redirects, and only to the web."""

    max_redirections = 5
    max_repeats = 2

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urllib.parse.urlsplit(newurl).scheme not in ("http", "https"):
            raise urllib.error.HTTPError(req.full_url, code, f"redirect to {newurl!r} refused", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
