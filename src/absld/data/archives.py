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
    """Of a .gz: the sha256 of what it holds. One that was packed anew, as distributions do, is known by it, and so is
    what was unpacked."""

    @property
    def unpacked(self) -> str:
        """What torchvision calls the contents of a .gz."""
        return Path(self.name).stem


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
        if archive.contents is None or path.name == archive.unpacked:
            shutil.copyfile(path, out / archive.folder / path.name)
        else:  # unpacked, because torchvision fetches anew what was packed anew
            with gzip.open(path) as packed, (out / archive.folder / archive.unpacked).open("wb") as file:
                shutil.copyfileobj(packed, file)


def _downloaded(archive: Archive, cache: Path) -> Path:
    advice = f"or put {archive.name} into a folder and name that folder in data.root"
    path = cache / archive.name
    download(archive.urls, path, Checksum("md5", archive.md5), advice=advice)
    return path


def _found(archives: Sequence[Archive], given: Path) -> list[Path]:
    if not given.is_dir():
        raise InputError(f"data.root: there is no folder {given}; null downloads the archives")
    places = [[path for path in _places(archive, given) if path.is_file()] for archive in archives]
    if missing := [archive.name for archive, paths in zip(archives, places, strict=True) if not paths]:
        raise InputError(
            f"data.root: {given} lacks {', '.join(missing)} (looked for {', '.join(a.name for a in archives)}, "
            "or torchvision's own folder); copy them there, or write null to download them"
        )
    return [_checked(archive, paths) for archive, paths in zip(archives, places, strict=True)]


def _places(archive: Archive, given: Path) -> list[Path]:
    folder = given / archive.folder
    unpacked = [] if archive.contents is None else [folder / archive.unpacked]
    return [*unpacked, given / archive.name, folder / archive.name]


def _checked(archive: Archive, paths: Sequence[Path]) -> Path:
    """The first of the files that is the published one."""
    reasons = []
    for path in paths:
        if (reason := _mismatch(path, archive)) is None:
            return path
        reasons.append(f"{path} is not the published file: {reason}")
    raise InputError(f"data.root: {reasons[0]}; fetch it again")


def _mismatch(path: Path, archive: Archive) -> str | None:
    if path.name == archive.unpacked and archive.contents is not None:
        return mismatch(path, Checksum("sha256", archive.contents))
    reason = mismatch(path, Checksum("md5", archive.md5))
    return reason if reason and not _holds(path, archive.contents) else None


def _holds(path: Path, contents: str | None) -> bool:
    """Whether a .gz holds what the published one does."""
    try:
        with gzip.open(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == contents
    except (OSError, EOFError, zlib.error):
        return False
