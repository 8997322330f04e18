"""A teacher that somebody trained already: fetched, opened only once it is known to be the right file, and checked."""

import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import urlsplit

from absld.data.card import Card
from absld.data.task import spec_for
from absld.download import Checksum, download, mismatch, public_address
from absld.errors import InputError
from absld.networks.checkpoints import read
from absld.networks.zoo import Classifier, Spec
from absld.params.teacher import TeacherFile, TeacherRobustBench, TeacherUrl
from absld.records.files import sha256_of
from absld.teachers.card import Origin
from absld.teachers.robustbench import KNOWN, Entry


class Obtained(NamedTuple):
    """A teacher on the CPU in evaluation mode, and where it came from."""

    model: Classifier
    origin: Origin


def obtain(teacher: TeacherFile | TeacherUrl | TeacherRobustBench, card: Card, root: Path, cache: Path) -> Obtained:
    """Get the teacher that the section `teacher` of params.yaml names.

    Args:
        teacher: the section.
        card: the data set's card, whose classes, channels and size the teacher must fit.
        root: the project's folder, which relative paths start from.
        cache: where downloads are kept.

    Raises:
        InputError: the file is missing, not the expected one, no checkpoint, or one of another network; the address
            does not give it; the model is unknown or for another data set.

    """
    if isinstance(teacher, TeacherFile):
        return _from_file(teacher, card, root / teacher.path)
    if isinstance(teacher, TeacherUrl):
        return _from_url(teacher, card, cache)
    if teacher.model in KNOWN:
        return _from_registry(teacher.model, KNOWN[teacher.model], card, cache)
    return _from_package(teacher.model, card, cache)


def _from_file(teacher: TeacherFile, card: Card, path: Path) -> Obtained:
    if not path.is_file():
        raise InputError(f"teacher.path: there is no file {path}: correct the path, which starts from params.yaml")
    expected = None if teacher.sha256 is None else Checksum("sha256", teacher.sha256)
    if reason := mismatch(path, expected):
        raise InputError(f"teacher.path: {path} is not the expected file, {reason}: fetch it again or correct the hash")
    model = read(path, spec_for(teacher.architecture, teacher.normalisation, card))
    trust = "any file: params.yaml names no sha256" if expected is None else "the sha256 in params.yaml"
    return Obtained(model, Origin(f"the file {path.name}", sha256_of(path), trust, "not known: your own file"))


def _from_url(teacher: TeacherUrl, card: Card, cache: Path) -> Obtained:
    name = re.sub(r"[^\w.-]", "_", PurePosixPath(urlsplit(teacher.url).path).name)
    path = cache / f"{teacher.sha256[:16]}-{name}"
    download([teacher.url], path, Checksum("sha256", teacher.sha256), advice=_advice(teacher.architecture))
    model = read(path, spec_for(teacher.architecture, teacher.normalisation, card))
    return Obtained(model, Origin(_address(teacher.url), teacher.sha256, "the sha256 in params.yaml", "not known"))


def _address(url: str) -> str:
    return f"the file {PurePosixPath(urlsplit(url).path).name}" if url.startswith("file:") else public_address(url)


def _from_registry(name: str, entry: Entry, card: Card, cache: Path) -> Obtained:
    if card.name != entry.dataset:
        raise InputError(f"teacher.model: {name} was trained on {entry.dataset}, and the data set is {card.name}")
    path = cache / f"{name}.pt"
    checksum = None if entry.sha256 is None else Checksum("sha256", entry.sha256)
    download(entry.urls, path, checksum, advice=_advice(entry.architecture))
    try:
        model = read(path, Spec(entry.architecture, len(card.classes), card.channels, card.size, entry.normalisation))
    except InputError:
        if checksum is None:
            path.unlink()
        raise
    trust = (
        "trusted on first use, as nobody publishes its sha256: it was opened as plain tensors only and fitted exactly"
        if checksum is None
        else "a sha256 from a third party's records"
    )
    source = f"RobustBench {name}: {entry.paper}"
    return Obtained(model, Origin(source, sha256_of(path), trust, entry.licence, entry.published._asdict()))


def _from_package(name: str, card: Card, cache: Path) -> Obtained:
    from absld.teachers.robustbench_package import load

    model, path = load(name, card, cache / "robustbench")
    trust = "what the package robustbench fetched; its logits are those of the package's own network"
    return Obtained(model, Origin(f"RobustBench {name}", sha256_of(path), trust, "see RobustBench's LICENSE"))


def _advice(architecture: str) -> str:
    return f"or fetch the file by hand and set teacher.source to file, with its path and architecture: {architecture}"
