"""Hashes of files: what stays as it is is read once, and no change is missed."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from absld.records import files
from absld.records.files import sha256_of, write_text


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read, in order."""
    read: list[Path] = []
    hashed = files._hashed
    monkeypatch.setattr(files, "_hashed", lambda path: read.append(path) or hashed(path))
    return read


def is_right(path: Path) -> bool:
    return sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_that_stays_as_it_is_is_read_once(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "JUST_NOW", 0.0)
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    assert is_right(path) and is_right(path) and is_right(path)
    assert reads == [path]


@pytest.mark.parametrize("way", ["in place", "anew", "with its old time"])
def test_a_file_that_changes_is_read_again(
    way: str, tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "JUST_NOW", 0.0)
    path = tmp_path / "weights"
    path.write_text("one")
    assert is_right(path)
    before = path.stat()
    time.sleep(0.05)  # longer than a tick of the file system's clock
    if way == "anew":
        write_text(path, "two")
    else:
        path.write_text("two")
    if way == "with its old time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert is_right(path)
    assert reads == [path, path]


def test_what_was_changed_just_now_is_read_again_as_its_time_may_stay(tmp_path: Path, reads: list[Path]) -> None:
    path = tmp_path / "weights"
    path.write_text("one")
    assert is_right(path) and is_right(path)
    assert reads == [path, path]
