"""Checkpoints that other people wrote: read tolerantly, checked strictly, and never run.

The published ones are bare state dicts or wrap one under a key of their own, with or without the prefix of
DataParallel; one has a dead group, one predates BatchNorm's counter. Whatever is left must fit the network exactly.
"""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from absld.errors import InputError
from absld.networks.weights import read_header
from absld.networks.zoo import Classifier, Spec, filled
from absld.records.files import sha256_of

_CONTAINERS = ("model", "net", "state_dict")
_PREFIX = re.compile(r"^(module\.|model\.)+")
_DEAD = "sub_block1."
"""A copy of the first group in TRADES' WRN-34-10, which no forward pass uses."""

_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80\x02"
_HEADER_BEGINS = b"\0\0\0{"
"""Of safetensors: the high bytes of the header's length, then the header, which is JSON."""
_LFS_POINTER = b"version https://git-lfs"
_SNIFFED = 512
"""Bytes from the start of a file that tell what it is."""

_AGAIN = "fetch it again and compare its size and sha256 with those of the publisher"


def read_verified(path: Path, sha256: str, spec: Spec) -> Classifier:
    """`read`, after the file's sha256 matched.

    Raises:
        InputError: there is no such file, it is another one, or `read` refuses it.

    """
    if not path.is_file():
        raise InputError(f"there is no file {path}: correct the path, which starts from params.yaml")
    if (found := sha256_of(path)) != sha256:
        raise InputError(f"{path} is not the expected file: its sha256 is {found}, params.yaml says {sha256}")
    return read(path, spec)


def read(path: Path, spec: Spec) -> Classifier:
    """The network of `spec` with the weights of a checkpoint, in evaluation mode, on the CPU.

    `path` is safetensors or what torch.save wrote, today's format or the one before torch 1.6. The state dict may lie
    under ``model``, ``net`` or ``state_dict``, and its names may begin with ``module.`` or ``model.``.

    Raises:
        InputError: the file is missing, empty, truncated, a web page, of another kind, or holds more than tensors and
            plain values; or its entries are not those of the network (the message names some).

    """
    state = _without_relics(_state_dict(_opened(path, spec), path))
    return filled(spec, state, path)


def _opened(path: Path, spec: Spec) -> Any:
    try:
        with path.open("rb") as file:
            start = file.read(_SNIFFED)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check the path") from error
    if not start:
        raise InputError(f"{path}: is empty: {_AGAIN}")
    if start.startswith(_ZIP):
        if not zipfile.is_zipfile(path):
            raise InputError(f"{path}: is truncated, the end of the archive is missing: {_AGAIN}")
        return _unpickled(path)
    if start.startswith(_PICKLE):
        return _unpickled(path)
    if start[5:9] == _HEADER_BEGINS:
        return _safetensors(path, spec)
    raise InputError(f"{path}: {_what_else(start)}")


def _what_else(start: bytes) -> str:
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        return (
            "is a web page, not a checkpoint: the address answered with a page, perhaps to ask for a confirmation; "
            "open it in a browser, or take a direct link"
        )
    if start.startswith(_LFS_POINTER):
        return "is a pointer of Git LFS, not the checkpoint itself: run `git lfs pull` where it comes from"
    return f"is neither safetensors nor what torch.save writes: {_AGAIN}"


def _unpickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: holds more than tensors and plain values, or is damaged. Nothing is opened that could run code: "
            "where you trust it, load it and write torch.save(model.state_dict(), ...)"
        ) from error
    except Exception as error:  # damaged bytes can end a pickle in any way there is
        raise InputError(f"{path}: is truncated or damaged ({type(error).__name__}): {_AGAIN}") from error


def _safetensors(path: Path, spec: Spec) -> dict[str, Tensor]:
    header = read_header(path)
    if header is not None and header.spec.normalisation != spec.normalisation:
        raise InputError(
            f"{path}: was trained with the normalisation {header.spec.normalisation}, and params.yaml says "
            f"{spec.normalisation}: write the one that the file names"
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path}: is truncated or damaged: {_AGAIN}") from error


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors by name, wherever in `content` they lie."""
    if isinstance(content, Mapping):
        inner = next((content[key] for key in _CONTAINERS if isinstance(content.get(key), Mapping)), content)
        state = {name: value for name, value in inner.items() if isinstance(value, Tensor)}
        if state:
            return state
    raise InputError(
        f"{path}: holds no state dict, neither at the top nor under {', '.join(_CONTAINERS)}: "
        "write torch.save(model.state_dict(), ...)"
    )


def _without_relics(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named = {_PREFIX.sub("", name): value for name, value in state.items()}
    used = {name: value for name, value in named.items() if not name.startswith(_DEAD)}
    counters = [name.replace("running_var", "num_batches_tracked") for name in used if name.endswith("running_var")]
    return used | {name: torch.tensor(0) for name in counters if name not in used}
