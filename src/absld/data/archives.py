"""The archives of a public data set: found in a folder of the user's or downloaded, and checked either way."""

import shutil
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
        shutil.copyfile(path, out / archive.folder / archive.name)


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
            "or the unpacked files); copy them there, or write null to download them"
        )
    paths = [path for path in found if path is not None]
    for archive, path in zip(archives, paths, strict=True):
        if reason := mismatch(path, Checksum("md5", archive.md5)):
            raise InputError(f"data.root: {path} is not the published file: {reason}; fetch it again")
    return paths
