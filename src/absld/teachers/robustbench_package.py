"""Any other model of RobustBench, through its package.

It is accepted only if it is one of our architectures, and equal weights are no proof: the logits must agree.
"""

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from absld.data.card import Card
from absld.errors import InputError
from absld.networks.zoo import Classifier, Spec, filled
from absld.params.networks import Architecture
from absld.teachers.robustbench import INSTALL

DATASETS = ("cifar10", "cifar100")
ARCHITECTURES: Mapping[str, Architecture] = {"WideResNet": "wrn_34_10", "DMWideResNet": "dm_wrn_70_16"}
"""The classes of RobustBench that can be the same network as one of ours."""

_NORMALISATIONS = (("mu", "sigma"), ("mean", "std"))
"""What RobustBench's classes call the buffers of their normalisation."""
_PROBES = 4
_TOLERANCE = 1e-3
"""Of a logit: far above rounding, far below any difference of architecture."""


def load(model: str, card: Card, cache: Path) -> tuple[Classifier, Path]:
    """Fetch a model of RobustBench, for the L∞ threat model.

    Returns:
        The network as one of ours, and the file that its weights came in.

    Raises:
        InputError: the package is missing, it does not know the model, or the model is no network of ours or not for
            this data set.

    """
    if card.name not in DATASETS:
        raise InputError(f"teacher.model: RobustBench has no models for {card.name}, only for {' and '.join(DATASETS)}")
    load_model = _load_model(model)
    try:
        theirs = load_model(model, cache, dataset=card.name, threat_model="Linf")
    except KeyError as error:
        raise InputError(
            f"teacher.model: RobustBench has no L∞ model {model} for {card.name}: look up its id"
        ) from error
    except Exception as error:  # its downloader raises kinds of its own
        raise InputError(f"teacher.model: RobustBench's package cannot load {model}: {error}") from error
    return converted(theirs, model, card), cache / card.name / "Linf" / f"{model}.pt"


def _load_model(model: str) -> Any:
    if find_spec("autoattack") is None:
        # robustbench 1.1.1 imports autoattack, but what its metadata installs is called pyautoattack
        sys.modules["autoattack"] = import_module("pyautoattack")
    try:
        return import_module("robustbench.utils").load_model
    except ImportError as error:
        raise InputError(f"teacher.model: {model} needs the package robustbench ({error}): {INSTALL}") from error


def converted(theirs: Any, model: str, card: Card) -> Classifier:
    """The same function as a network of ours: equal weights and, on a few images, equal logits.

    Raises:
        InputError: it is none of our architectures.

    """
    names = [kind.__name__ for kind in type(theirs).__mro__]
    architecture = next((ARCHITECTURES[name] for name in names if name in ARCHITECTURES), None)
    if architecture is None:
        raise _refused(model, f"it is a {names[0]}")
    spec = Spec(architecture, len(card.classes), card.channels, card.size, _normalisation(theirs))
    try:
        ours = filled(spec, _weights(theirs), Path(model))
    except InputError as error:
        raise _refused(model, str(error)) from error
    probes = torch.rand(_PROBES, card.channels, card.size, card.size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        z, z_ours = theirs.eval()(probes), ours(probes)
    if not torch.allclose(z, z_ours, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise _refused(model, f"with the same weights its logits differ from those of {architecture}")
    return ours


def _refused(model: str, reason: str) -> InputError:
    ours = ", ".join(ARCHITECTURES.values())
    return InputError(f"teacher.model: {model} cannot be used ({reason}); choose a model that is one of {ours}")


def _weights(theirs: nn.Module) -> dict[str, Tensor]:
    constants = [name for pair in _NORMALISATIONS for name in pair]
    return {
        name: value
        for name, value in theirs.state_dict().items()
        if name not in constants and not name.startswith("sub_block1.")
    }


def _normalisation(theirs: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    buffers = dict(theirs.named_buffers())
    for mean, std in _NORMALISATIONS:
        if mean in buffers and std in buffers:
            return tuple(buffers[mean].flatten().tolist()), tuple(buffers[std].flatten().tolist())
    return None
