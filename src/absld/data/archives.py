"""The archives of a public data set: found in a folder of the user's or downloaded, and checked either way."""

import gzip
import hashlib
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from absld.download import Checksum, download, mismatch
from absld.errors import InputError


class Archive(NamedTuple):
    """A file that the authors publish."""

    folder: str
    """Where torchvision looks for it, below its root."""
    name: str
    md5: str
    urls: tuple[str, ...]
    """Mirrors, tried in this order."""
    contents: str | None = None
    """Of a .gz: the sha256 of what it holds. One that was packed anew, as distributions do, is known by it."""


def lay_out(archives: Sequence[Archive], given: Path | None, cache: Path, out: Path) -> None:
    """Put verified archives under `out` as torchvision wants them.

    Args:
        archives: which.
        given: the user's folder; None: download them.
        cache: where downloads are kept.
        out: the folder to fill.

    Raises:
        InputError: an archive is missing in `given`, is not the published one, or cannot be downloaded.

    """
    found = [_downloaded(archive, cache) for archive in archives] if given is None else _found(archives, given)
    for archive, path in zip(archives, found, strict=True):
        (out / archive.folder).mkdir(parents=True, exist_ok=True)
        if archive.contents is None:
            shutil.copyfile(path, out / archive.folder / archive.name)
        else:  # unpacked, because torchvision fetches anew what was packed anew
            with gzip.open(path) as packed, (out / archive.folder / Path(archive.name).stem).open("wb") as file:
                shutil.copyfileobj(packed, file)


def _downloaded(archive: Archive, cache: Path) -> Path:
    advice = f"or put {archive.name} into a folder and name that folder in data.root"
    path = cache / archive.name
    download(archive.urls, path, Checksum("md5", archive.md5), advice=advice)
    return path


def _found(archives: Sequence[Archive], given: Path) -> list[Path]:
    if not given.is_dir():
        raise InputError(f"data.root: there is no folder {given}; null downloads the archives")
    candidates = [[given / archive.name, given / archive.folder / archive.name] for archive in archives]
    found = [next((path for path in paths if path.is_file()), None) for paths in candidates]
    if missing := [archive.name for archive, path in zip(archives, found, strict=True) if path is None]:
        raise InputError(
            f"data.root: {given} lacks {', '.join(missing)} (looked for {', '.join(a.name for a in archives)}, "
            "or torchvision's own folder); copy them there, or write null to download them"
        )
    paths = [path for path in found if path is not None]
    for archive, path in zip(archives, paths, strict=True):
        reason = mismatch(path, Checksum("md5", archive.md5))
        if reason and not _holds(path, archive.contents):
            raise InputError(f"data.root: {path} is not the published file: {reason}; fetch it again")
    return paths


def _holds(path: Path, contents: str | None) -> bool:
    """Whether a .gz holds what the published one does."""
    try:
        with gzip.open(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == contents
    except (OSError, EOFError, zlib.error):
        return False
