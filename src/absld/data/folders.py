"""What lies in an image folder, ROOT/train/<class>/* and ROOT/test/<class>/*: names and counts, no pixels."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from absld.errors import InputError

PARTS = ("train", "test")
KEY = "data.root"
"""What params.yaml calls the folder."""
LAYOUT = "an image folder has ROOT/train/<class>/* and ROOT/test/<class>/*"


class Listing(NamedTuple):
    """The images of a folder."""

    root: Path
    classes: list[str]
    """The names of the class folders, sorted; the same in both parts."""
    files: Mapping[str, list[list[Path]]]
    """Part (train, test, or test alone) to the images of each class, sorted by name."""


def listing_of(root: Path) -> Listing:
    """List the images; hidden files and folders are ignored.

    Raises:
        InputError: a folder is missing; there are fewer than two classes; a class lies in one part only, has no
            image, or has folders or links to nothing inside.

    """
    if not root.is_dir():
        raise InputError(f"{KEY}: there is no folder {root}; {LAYOUT}")
    names = {part: _class_names(root / part, KEY) for part in PARTS}
    for part, other in (PARTS, PARTS[::-1]):
        if alone := sorted(set(names[part]) - set(names[other])):
            raise InputError(f"{KEY}: {root / part} has classes that {other} lacks: {', '.join(alone)}")
    classes = names["train"]
    if len(classes) < 2:
        raise InputError(f"{KEY}: {root / 'train'} has {len(classes)} class folders; at least 2 are needed")
    return Listing(root, classes, {part: [_images(root / part / name, KEY) for name in classes] for part in PARTS})


def part_of(root: Path, where: str) -> Listing:
    """List the images of the test part alone: ROOT/test/<class>/* where there is that, else ROOT/<class>/*.

    Args:
        root: the folder, which exists.
        where: what the user named it with, for messages.

    Raises:
        InputError: there are fewer than two classes; or a class has no image, or has folders or links to nothing
            inside.

    """
    inner = root / "test"
    folder = inner if inner.is_dir() and _class_names(inner, where) else root
    classes = _class_names(folder, where)
    if len(classes) < 2:
        raise InputError(
            f"{where}: {folder} has {len(classes)} class folders; at least 2 are needed, each with its images inside"
        )
    return Listing(root, classes, {"test": [_images(folder / name, where) for name in classes]})


def _class_names(folder: Path, where: str) -> list[str]:
    if not folder.is_dir():
        raise InputError(f"{where}: there is no folder {folder}; {LAYOUT}")
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _images(folder: Path, where: str) -> list[Path]:
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    if others := [entry for entry in entries if not entry.is_file()]:
        if others[0].is_dir():
            raise InputError(f"{where}: {others[0]} is a folder inside a class folder; {LAYOUT}")
        raise InputError(f"{where}: {others[0]} is no file, or a link to nothing: repair or remove it")
    if not entries:
        raise InputError(f"{where}: the class folder {folder} has no images; add some or remove it in both parts")
    return entries


def digest(listing: Listing) -> str:
    """The sha256 over each image's relative path, size in bytes and sha256, in the order of the paths.

    It changes when an image is added, removed, renamed or altered, and with nothing else.

    Raises:
        InputError: a file cannot be read.

    """
    paths = {
        path.relative_to(listing.root).as_posix(): path
        for part in listing.files.values()
        for images in part
        for path in images
    }
    order = sorted(paths)
    whole = hashlib.sha256()
    with ThreadPoolExecutor() as pool:
        for line in pool.map(_fingerprint, order, (paths[name] for name in order)):
            whole.update(line)
    return whole.hexdigest()


def _fingerprint(name: str, path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): repair or remove it") from None
    return f"{name}\0{len(content)}\0{hashlib.sha256(content).hexdigest()}\n".encode()
