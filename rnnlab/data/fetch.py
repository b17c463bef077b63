"""Bring a published corpus into the cache: download, unpack with suspicion, publish only the right bytes.

Nothing that a server or an archive says is believed: sizes are bounded, names inside an archive are never used as
paths, and a file takes its place only once its SHA-256 is the published one. A download that breaks is begun again. It
goes to a file without a name, of which nothing is left when the process ends.
"""

import http.client
import os
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tqdm import tqdm

from rnnlab import __version__, cache
from rnnlab.data import hashes
from rnnlab.data.corpora import PUBLISHED, Published, build_python_stdlib
from rnnlab.data.publication import cache_errors, making, publication
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
    deadline: float = 3600.0  # for all attempts together [s]
    retries: int = 4
    backoff: float = 1.0  # before the first retry, doubled for each that follows [s]


class _Unusable(DataError):
    """What came is not the corpus, or nothing came."""


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
    mirror = os.environ.get("RNNLAB_MIRROR")
    return obtain(PUBLISHED[key], source, url=f"{mirror.rstrip('/')}/{key}.zip" if mirror else None)


def obtain(
    published: Published,
    source: str | os.PathLike[str] | None = None,
    *,
    url: str | None = None,
    patience: Patience = Patience(),
) -> Path:
    """Publish a corpus in the cache, from `source` or else `url`. Raises: DataError; the cache is then as before."""
    with making(published.name) as root:
        target = root / published.name
        if target.is_file() and hashes.sha256(target)[1] == published.sha256:
            return target
        if source is not None:
            path = Path(os.path.abspath(os.path.expanduser(source)))
            hashes.stamp(path)  # refuses what is no regular file
            try:
                with open(path, "rb") as file:
                    _publish(published, str(path), file, target)
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error.strerror or error}; name a file that can") from None
            return target
        address = url or published.url
        try:
            with cache_errors(root), tempfile.TemporaryFile(dir=root) as archive:
                _download(published, address, archive, patience)
                _publish(published, "the download", archive, target)
        except _Unusable as error:
            raise DataError(
                f"{address}: {error}; try again later, or get the file another way and "
                f"`rnnlab fetch {published.name} --from FILE`"
            ) from None
        return target


def _download(published: Published, url: str, file: IO[bytes], patience: Patience) -> None:
    if "@" in urllib.parse.urlsplit(url).netloc:
        raise DataError("RNNLAB_MIRROR: an address with a user or a password is not supported; use --from FILE")
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise DataError(f"{url!r} is no http or https address; correct RNNLAB_MIRROR")
    until, reason = time.monotonic() + patience.deadline, ""
    for attempt in range(patience.retries + 1):
        if attempt:
            if sys.stderr.isatty():
                tqdm.write(f"{published.name}: {reason}; trying again", file=sys.stderr)
            time.sleep(patience.backoff * 2 ** (attempt - 1))
        try:
            return _attempt(published, url, file, patience, until)
        except urllib.error.HTTPError as error:
            error.close()
            if 300 <= error.code < 400:
                raise _Unusable("the address redirects in a circle, too often, or away from the web") from None
            reason = f"the server answers {error.code} {error.reason}"
            if error.code not in RETRIED:
                raise _Unusable(reason) from None
        except (http.client.HTTPException, OSError) as error:
            reason = str(getattr(error, "reason", "") or error or type(error).__name__)
    raise _Unusable(f"{reason}, and {patience.retries} retries changed nothing")


def _attempt(published: Published, url: str, file: IO[bytes], patience: Patience, until: float) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": f"rnnlab/{__version__}"})
    limit, received = published.size + ARCHIVE_SLACK, 0
    with cache_errors(cache.folder()):
        file.seek(0)
        file.truncate()
    with urllib.request.urlopen(request, timeout=patience.timeout) as response:
        total = getattr(response, "length", None)  # an FTP server that a redirect led to tells none
        if total is not None and total > limit:
            raise _Unusable(f"the server announces {total:,} bytes, more than {published.name} itself has")
        with tqdm(total=total, unit="B", unit_scale=True, desc=published.name, disable=None) as bar:
            while block := response.read1(BLOCK):
                received += len(block)
                if received > limit:
                    raise _Unusable(f"the server sends more than {published.name} itself has")
                if time.monotonic() > until:  # a trickle never meets the timeout
                    raise _Unusable(f"not done after {patience.deadline:.0f} s, with {received:,} bytes received")
                with cache_errors(cache.folder()):
                    file.write(block)
                bar.update(len(block))
    if total is not None and received < total:
        raise ConnectionError(f"the connection ended at byte {received:,} of {total:,}")


def _publish(published: Published, name: str, file: IO[bytes], target: Path) -> None:
    """Raises: _Unusable, with the target left as it was, if the file is not the corpus."""
    with publication(target) as made:
        for block in _content(published, name, file):
            made.write(block)
            if made.size > published.size:
                raise _Unusable(f"{name} unpacks to more than the {published.size:,} bytes of {published.name}")
        if made.sha256 != published.sha256:
            raise _Unusable(
                f"{name} is not {published.name}: {made.size:,} bytes with SHA-256 {made.sha256}, "
                f"where {published.size:,} with {published.sha256} were published"
            )


def _content(published: Published, name: str, file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a raw file, or of the one member of a zip."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(2) == b"PK":
        yield from _member(published, name, file, size)
        return
    if size != published.size:
        raise _Unusable(
            f"{name} ({size:,} bytes) is neither a zip nor the {published.size:,} bytes of {published.name}"
        )
    file.seek(0)
    while block := file.read(BLOCK):
        yield block


def _member(published: Published, name: str, file: IO[bytes], size: int) -> Iterator[bytes]:
    if size > published.size + ARCHIVE_SLACK:
        raise _Unusable(f"{name} ({size:,} bytes) is larger than {published.name} itself; it is not its archive")
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) != 1 or members[0].filename != published.name:
                names = ", ".join(repr(member.filename) for member in members[:3]) or "nothing"
                raise _Unusable(f"{name} holds {names}, where the one file {published.name!r} was expected")
            # bzip2 and lzma are unpacked a block at a time, however large it gets
            if members[0].flag_bits & 1 or members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _Unusable(f"{name} is encrypted or packed in an uncommon way; unpack it and name the raw file")
            with archive.open(members[0]) as content:
                while block := content.read(BLOCK):
                    yield block
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise _Unusable(f"{name} is a damaged zip: {error or 'it ends early'}") from None
