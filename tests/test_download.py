"""Downloads, from a real server that misbehaves in the ways that servers do."""

import hashlib
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from absld.download import Checksum, download
from absld.errors import InputError

CONTENT = bytes(hashlib.sha256(str(n).encode()).digest()[0] for n in range(200_000))
SHA256 = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest())
QUOTA_PAGE = b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body></body></html>"
CONFIRM_PAGE = (
    b'<!DOCTYPE html><html><body><form id="download-form" action="/confirmed?ignored=1" method="get">'
    b'<input type="submit" value="Download anyway"/><input type="hidden" name="id" value="a&amp;b">'
    b'<input type="hidden" name="confirm" value="t"></form></body></html>'
)


class Server(http.server.ThreadingHTTPServer):
    """Keeps a log of what was asked: the first part of the path and the range."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.log: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    """The path says how the server behaves."""

    def do_GET(self) -> None:
        behaviour = urlsplit(self.path).path.strip("/").split("/")[0]
        self.log.append(f"{behaviour} {self.headers['Range'] or 'all'}")
        getattr(self, f"_{behaviour}", self._missing)()

    @property
    def log(self) -> list[str]:
        assert isinstance(self.server, Server)
        return self.server.log

    def _send(self, body: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _file(self, at_most: int = len(CONTENT)) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "bytes=0-")
        assert asked
        start = int(asked[1])
        if start >= len(CONTENT):
            self._send(b"", 416)
            return
        rest = CONTENT[start:]
        content_range = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        self._send(rest[:at_most], 206 if start else 200, length=len(rest), Content_Range=content_range)

    def _breaks(self) -> None:
        self._file(at_most=70_000)

    def _stubborn(self) -> None:
        self._send(CONTENT)

    def _truncated(self) -> None:
        self._send(CONTENT[:90_000], length=len(CONTENT))

    def _page(self) -> None:
        self._send(QUOTA_PAGE, Content_Type="application/octet-stream")

    def _other(self) -> None:
        self._send(b"not what was expected")

    def _flaky(self) -> None:
        if len(self.log) < 3:
            self._send(b"", 503)
        else:
            self._file()

    def _drive(self) -> None:
        self._send(CONFIRM_PAGE, Set_Cookie="a=b")

    def _confirmed(self) -> None:
        if parse_qs(urlsplit(self.path).query) != {"id": ["a&b"], "confirm": ["t"]} or self.headers["Cookie"] != "a=b":
            self._page()
        else:
            self._file()

    def _missing(self) -> None:
        self._send(b"<html>gone</html>", 404)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "weights.pt"


def fetch(target: Path, *urls: str, checksum: Checksum | None = SHA256) -> None:
    download(urls, target, checksum, advice="or take the train", waits=(0, 0, 0))


def part_of(target: Path) -> Path:
    return target.with_name("weights.pt.part")


def test_a_file_comes_once_and_whole(site: Server, target: Path) -> None:
    fetch(target, f"{site.url}/file")
    fetch(target, f"{site.url}/file")
    assert target.read_bytes() == CONTENT
    assert site.log == ["file all"]
    assert [path.name for path in target.parent.iterdir()] == ["weights.pt"]


def test_a_broken_connection_goes_on_where_it_broke(site: Server, target: Path) -> None:
    fetch(target, f"{site.url}/breaks")
    assert target.read_bytes() == CONTENT
    assert site.log == ["breaks all", "breaks bytes=70000-", "breaks bytes=140000-"]


def test_what_an_earlier_process_left_is_built_upon(site: Server, target: Path) -> None:
    part_of(target).write_bytes(CONTENT[:123_456])
    fetch(target, f"{site.url}/file")
    assert target.read_bytes() == CONTENT
    assert site.log == ["file bytes=123456-"]


def test_a_server_that_cannot_resume_starts_anew(site: Server, target: Path) -> None:
    part_of(target).write_bytes(CONTENT[:1000])
    fetch(target, f"{site.url}/stubborn")
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("rubbish", [b"x" * 5000, CONTENT + b"too long"])
def test_a_useless_part_is_not_trusted(site: Server, target: Path, rubbish: bytes) -> None:
    part_of(target).write_bytes(rubbish)
    fetch(target, f"{site.url}/file")
    assert target.read_bytes() == CONTENT


def test_a_whole_part_needs_no_server(site: Server, target: Path) -> None:
    part_of(target).write_bytes(CONTENT)
    fetch(target, f"{site.url}/file")
    assert target.read_bytes() == CONTENT
    assert site.log == []


def test_without_a_checksum_nothing_is_built_upon(site: Server, target: Path) -> None:
    part_of(target).write_bytes(CONTENT[:1000])
    fetch(target, f"{site.url}/file", checksum=None)
    assert site.log == ["file all"]


def test_a_server_that_is_busy_is_asked_again(site: Server, target: Path) -> None:
    fetch(target, f"{site.url}/flaky")
    assert target.read_bytes() == CONTENT
    assert site.log == ["flaky all"] * 3


def test_a_page_that_asks_for_a_confirmation_is_confirmed(site: Server, target: Path) -> None:
    part_of(target).write_bytes(CONTENT[:1000])
    fetch(target, f"{site.url}/drive")
    assert target.read_bytes() == CONTENT
    assert site.log == ["drive bytes=1000-", "confirmed bytes=1000-"]


def test_mirrors_are_tried_in_order(site: Server, target: Path) -> None:
    fetch(target, *(f"{site.url}/{name}" for name in ("missing", "page", "other", "file", "stubborn")))
    assert target.read_bytes() == CONTENT
    assert site.log == ["missing all", "page all", "other all", "file all"]


def test_a_file_address_is_copied(target: Path) -> None:
    source = target.with_name("source")
    source.write_bytes(CONTENT)
    fetch(target, source.as_uri())
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("missing", "404 Not Found"),
        ("page", r"a web page came instead of the file \(Google Drive - Quota exceeded\)"),
        ("truncated", "truncated: 90,000 of 200,000 bytes"),
        ("other", f"its sha256 is [0-9a-f]{{64}}, expected {SHA256.digest}"),
    ],
)
def test_each_failure_says_why_and_leaves_no_file(site: Server, target: Path, behaviour: str, reason: str) -> None:
    with pytest.raises(InputError, match=rf"cannot fetch weights.pt:\n  {site.url}/{behaviour}: .*{reason}"):
        fetch(target, f"{site.url}/{behaviour}")
    assert not target.exists()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/weights.pt", "file:///no/such/file", "http://[broken/weights.pt"])
def test_a_dead_address_says_so(target: Path, url: str) -> None:
    with pytest.raises(InputError, match=r"no answer|no address") as error:
        fetch(target, url)
    assert "or take the train" in str(error.value)
    assert not target.exists()


def test_a_wrong_file_of_an_earlier_time_is_replaced(site: Server, target: Path) -> None:
    target.write_bytes(b"old")
    fetch(target, f"{site.url}/file")
    assert target.read_bytes() == CONTENT
