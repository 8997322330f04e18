"""A network in a file of ours: safetensors whose header says how to build the network again.

Equal weights give equal bytes, on whatever device and in whatever memory layout they were.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from absld.errors import InputError
from absld.networks.zoo import Classifier, Spec, filled
from absld.records.files import replacing

_KEY = "absld"


class Header(NamedTuple):
    """What a file says about its network."""

    spec: Spec
    more: dict[str, Any]
    """What `save` was given besides."""


def save(path: Path, model: Classifier, **more: Any) -> None:
    """Write the weights and the spec of `model`; `more` is kept beside them and must be JSON."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.backbone.state_dict().items()}
    # One key only: safetensors writes several in any order, and the bytes would differ from one time to the next.
    header = json.dumps({"spec": asdict(model.spec), "more": more}, sort_keys=True, allow_nan=False)
    with replacing(path) as part:
        save_file(tensors, part, metadata={_KEY: header})


def read_header(path: Path) -> Header | None:
    """What the file says about its network; None if `save` did not write it, though it is safetensors.

    Raises:
        InputError: there is no such file, or it is truncated or no safetensors.

    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read as safetensors ({error}): make or fetch it again") from error
    if _KEY not in metadata:
        return None
    try:
        header = json.loads(metadata[_KEY])
        return Header(_spec(**header["spec"]), header["more"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: was written by another version of absld: make or fetch it again") from error


def load(path: Path, device: str | torch.device = "cpu") -> Classifier:
    """The network that `save` wrote, in evaluation mode.

    Raises:
        InputError: there is no such file, or `save` did not write it.

    """
    header = read_header(path)
    if header is None:
        raise InputError(f"{path}: does not say which network it belongs to: give a file that a stage wrote")
    return filled(header.spec, load_file(path), path).to(device)


def _spec(normalisation: list[list[float]] | None, **others: Any) -> Spec:
    if normalisation is None:
        return Spec(**others, normalisation=None)
    mean, std = normalisation
    return Spec(**others, normalisation=(tuple(mean), tuple(std)))
