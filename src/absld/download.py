"""Files behind addresses: resumed where they broke off, checked, and only then given their name.

What is on the way lies beside the target as NAME.part. Mirrors are tried in order; the error says of each why it
failed.
"""

import hashlib
import html
import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

from absld.errors import InputError
from absld.progress import progress

WAITS = (1.0, 3.0, 9.0)
"""Seconds before the second, third and fourth try of an address."""
_TIMEOUT = 30
"""Seconds without a byte after which an address counts as broken."""
_BLOCK = 2**16
"""Bytes that are read at a time: so much is lost when a connection breaks, and so much of a web page is looked at."""
_WEB_PAGE = re.compile(rb"^(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml|script|!--)", re.IGNORECASE)
_TRY_AGAIN = (408, 416, 425, 429, 500, 502, 503, 504)
_AGENT = "Mozilla/5.0 (absld)"


class Checksum(NamedTuple):
    """What a file's bytes must hash to."""

    algorithm: Literal["sha256", "md5"]
    digest: str


class _BrokenError(Exception):
    """The address may answer better next time."""


class _RefusedError(Exception):
    """The address will not give the file."""


def download(
    urls: Sequence[str], target: Path, checksum: Checksum | None, *, advice: str, waits: Sequence[float] = WAITS
) -> None:
    """Fetch a file unless it is there already.

    Args:
        urls: where it lies, http, https or file; the first that gives it wins.
        target: the file to make.
        checksum: what it must be; None: anything but a web page, and nothing that an earlier call left is built upon.
        advice: what the user can do instead, the end of a sentence.
        waits: seconds to wait before each further try of an address.

    Raises:
        InputError: no address gives the file. `target` does not exist then.

    """
    if target.is_file() and mismatch(target, checksum) is None:
        return
    target.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    reasons = []
    for url in urls:
        try:
            _fetch(url, part, checksum, waits)
        except _RefusedError as reason:
            reasons.append(f"  {url}: {reason}")
        else:
            part.replace(target)
            return
    raise InputError(
        "\n".join([f"cannot fetch {target.name}:", *reasons, f"check the address and the network, {advice}"])
    )


def public_address(url: str) -> str:
    """The address as others may see it: no name, no password, no token, and nothing of this machine's folders."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file":
        return f"file:///{PurePosixPath(parts.path).name}"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def mismatch(path: Path, checksum: Checksum | None) -> str | None:
    """Why the file is not the one that `checksum` means; None if it is."""
    if checksum is None:
        return None
    with path.open("rb") as file:
        found = hashlib.file_digest(file, checksum.algorithm).hexdigest()
    return None if found == checksum.digest else f"its {checksum.algorithm} is {found}, expected {checksum.digest}"


def _fetch(url: str, part: Path, checksum: Checksum | None, waits: Sequence[float]) -> None:
    """Make `part` the file behind `url`, whole and checked."""
    if checksum is None:
        part.unlink(missing_ok=True)
    built_upon = part.exists()
    if built_upon and mismatch(part, checksum) is None:
        return
    _fetch_whole(url, part, waits)
    reason = mismatch(part, checksum)
    if reason and built_upon:
        part.unlink()
        _fetch_whole(url, part, waits)
        reason = mismatch(part, checksum)
    if reason:
        part.unlink()
        raise _RefusedError(f"not the expected file: {reason}")


def _fetch_whole(url: str, part: Path, waits: Sequence[float]) -> None:
    for wait in waits:
        try:
            return _fetch_rest(url, part)
        except _BrokenError:
            time.sleep(wait)
    try:
        return _fetch_rest(url, part)
    except _BrokenError as reason:
        raise _RefusedError(str(reason)) from reason


def _fetch_rest(url: str, part: Path) -> None:
    """Ask for what `part` still lacks and append it."""
    try:
        with _opened(url, part) as answer:
            _append(answer, part)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # what is there reaches beyond the end of the file
            part.unlink(missing_ok=True)
        kind = _BrokenError if error.code in _TRY_AGAIN else _RefusedError
        raise kind(f"the server says {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        kind = _RefusedError if url.startswith("file:") else _BrokenError
        raise kind(f"no answer: {error.reason}") from error
    except ValueError as error:
        raise _RefusedError(f"no address: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(f"broke off: {error or type(error).__name__}") from error


class _Answer(NamedTuple):
    """An address that began to give a file."""

    response: Any
    start: bytes
    """What was read of it."""
    offset: int
    """Where in the file that lies."""

    @property
    def total(self) -> int | None:
        """The size of the whole file in bytes, if the server says so."""
        length = self.response.headers["Content-Length"]
        return None if length is None else self.offset + int(length)

    def __enter__(self) -> "_Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()


def _opened(url: str, part: Path) -> _Answer:
    """Open an address; a page that asks for a confirmation, as Google Drive's for large files, is confirmed once."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    page = ""
    for _ in range(2):
        answer = _asked(opener, url, part)
        if answer.offset or not _WEB_PAGE.match(answer.start):
            return answer
        with answer:
            page = answer.start.decode(errors="replace")
        confirmed = _confirmed(page, answer.response.url)
        if confirmed is None:
            break
        url = confirmed
    title = re.search(r"<title>(.*?)</title>", page, re.IGNORECASE | re.DOTALL)
    said = f" ({html.unescape(title[1]).strip()})" if title else ""
    raise _RefusedError(f"a web page came instead of the file{said}")


def _asked(opener: urllib.request.OpenerDirector, url: str, part: Path) -> _Answer:
    there = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": _AGENT} | ({"Range": f"bytes={there}-"} if there else {})
    response = opener.open(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    resumed = (response.headers["Content-Range"] or "").startswith(f"bytes {there}-")
    return _Answer(response, response.read(_BLOCK), there if resumed else 0)


def _confirmed(page: str, address: str) -> str | None:
    """The address that the page's download form leads to."""
    form = re.search(r'<form[^>]*id="download-form"[^>]*>.*?</form>', page, re.DOTALL)
    action = re.search(r'action="([^"]*)"', form[0]) if form else None
    if form is None or action is None:
        return None
    fields = {}
    for field in re.findall(r'<input[^>]*type="hidden"[^>]*>', form[0]):
        attributes = dict(re.findall(r'(\w+)="([^"]*)"', field))
        fields[attributes.get("name", "")] = html.unescape(attributes.get("value", ""))
    whole = urllib.parse.urljoin(address, html.unescape(action[1]))
    return urllib.parse.urlsplit(whole)._replace(query=urllib.parse.urlencode(fields)).geturl()


def _append(answer: _Answer, part: Path) -> None:
    total, done = answer.total, answer.offset
    with (
        part.open("ab" if answer.offset else "wb") as file,
        progress(f"fetch {part.stem}", total, "bytes", done) as show,
    ):
        block = answer.start
        while block:
            file.write(block)
            done += len(block)
            show(len(block))
            block = answer.response.read(_BLOCK)
    if total is not None and done < total:
        raise _BrokenError(f"truncated: {done:,} of {total:,} bytes came")
