"""What unfinished work belongs to: chunks of another network, other images or other settings are not gone on with."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from absld.data.dataset import Split
from absld.errors import InputError
from absld.evaluation.plan import Attack
from absld.params.evaluate import Evaluate
from absld.records.files import digest, read_json, write_json
from absld.versions import version

FILE = "fingerprint.json"
VERSIONS = ("absld", "torch", "pyautoattack")
ANEW = "to begin anew, delete the folder or give an empty one"


def fingerprint(
    network: nn.Module,
    teacher: nn.Module | None,
    split: Split,
    settings: Evaluate,
    plan: Sequence[Attack],
    versions: Sequence[str] = VERSIONS,
) -> dict[str, Any]:
    """Everything that decides a verdict, as JSON; `versions` names the packages that compute it."""
    return {
        "weights_sha256": _weights_sha256(network),
        "layers_sha256": digest(str(network)),
        "teacher_sha256": None if teacher is None else _weights_sha256(teacher),
        "data_sha256": _sha256(split.x, split.y),
        "norm": "Linf",
        "eps": settings.eps,
        "seed": settings.seed,
        "chunk": settings.chunk,
        "keep": settings.keep,
        "device": _device(network),
        "versions": {name: version(name) for name in versions},
        "attacks": {
            attack.key: {**attack.settings, "eps": attack.eps, "n": len(attack.rows), "after": attack.after}
            for attack in plan
        },
    }


def claim(folder: Path, ours: dict[str, Any]) -> None:
    """Write `ours` into an empty folder, or find it there.

    Raises:
        InputError: the folder holds work that belongs to something else; says what is different.

    """
    file = folder / FILE
    try:
        theirs = read_json(file)
    except (FileNotFoundError, ValueError):
        if any(folder.glob("*.npz")):
            raise InputError(
                f"{folder}: holds chunks but no {FILE} that can be read, so nobody knows whose they are: {ANEW}"
            ) from None
        write_json(file, ours)
        return
    changed = list(_differences(theirs, ours))
    if changed:
        raise InputError(
            f"{folder}: the evaluation that was begun there is of something else: {'; '.join(changed)}. Put this "
            f"back as it was to go on with it; {ANEW}"
        )


def _differences(theirs: Any, ours: Any, name: str = "") -> Iterator[str]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in dict.fromkeys((*theirs, *ours)):
            yield from _differences(theirs.get(key), ours.get(key), f"{name}.{key}" if name else key)
    elif theirs != ours:
        yield f"{name} was {_short(theirs)} and is {_short(ours)}"


def _short(value: Any) -> str:
    return f"{value[:12]}..." if isinstance(value, str) and len(value) == 64 else str(value)


def _weights_sha256(network: nn.Module) -> str:
    """Of names, shapes and numbers, on whatever device they are."""
    state = network.state_dict()
    arrays = {name: value.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for name, value in state.items()}
    shapes = {name: [str(value.dtype), list(value.shape)] for name, value in state.items()}
    return digest([shapes, {name: _sha256(value.numpy()) for name, value in arrays.items()}])


def _sha256(*arrays: NDArray[Any]) -> str:
    hashed = hashlib.sha256()
    for array in arrays:
        hashed.update(f"{array.dtype}{array.shape}".encode())
        hashed.update(np.ascontiguousarray(array).data)
    return hashed.hexdigest()


def _device(network: nn.Module) -> str:
    return next((tensor.device.type for tensor in network.state_dict().values()), "cpu")
