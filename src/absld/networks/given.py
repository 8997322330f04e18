"""A network in a file that the user names: one of ours, which says what it is, or anybody's checkpoint."""

import math
from pathlib import Path

from absld.errors import InputError
from absld.networks.checkpoints import read
from absld.networks.weights import Header, load, read_header
from absld.networks.zoo import ARCHITECTURES, Classifier, Spec

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]


def read_given(
    path: Path, architecture: str | None, normalisation: Normalisation | None, *, classes: int, channels: int, size: int
) -> Classifier:
    """The network in evaluation mode, on the CPU.

    Args:
        path: Our own safetensors, or a checkpoint (absld.networks.checkpoints).
        architecture: A name of the zoo. A file of ours needs none, and refuses another.
        normalisation: Means and standard deviations by channel; None: none, or what a file of ours says.
        classes: Of the data set, and so are the others.
        channels: 1 or 3.
        size: Height and width, in pixels.

    Raises:
        InputError: the file is missing or no checkpoint, or it is not of such a network.

    """
    if not path.is_file():
        raise InputError(f"there is no file {path}: correct the path")
    header = _header(path)
    if header is None:
        if architecture is None:
            names = ", ".join(ARCHITECTURES)
            raise InputError(f"{path} does not say which network it belongs to: name the architecture, one of {names}")
        return read(path, Spec(architecture, classes, channels, size, normalisation))
    own = header.spec
    wanted = Spec(architecture or own.architecture, classes, channels, size, normalisation or own.normalisation)
    different = [
        f"{key} {getattr(own, key)}, not {value}" for key, value in vars(wanted).items() if value != getattr(own, key)
    ]
    if different:
        raise InputError(f"{path} says of itself: {'; '.join(different)}: correct the options, or choose other data")
    return load(path)


def class_names(path: Path) -> list[str] | None:
    """The classes that a network of ours knows, in its order; None: the file does not tell."""
    header = _header(path)
    known: list[str] | None = header and header.more.get("classes")
    return known


def parse_normalisation(mean: str | None, std: str | None) -> Normalisation | None:
    """Means and standard deviations by channel, as they are typed: 0.49,0.48,0.45.

    Raises:
        InputError: one is missing, something is no finite number, or a deviation is not above 0.

    """
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise InputError(
            "--mean and --std belong together: give both, or none where the network takes pixels in [0, 1]"
        )
    try:
        means, stds = (tuple(float(value) for value in text.split(",")) for text in (mean, std))
    except ValueError:
        raise InputError(f"--mean {mean} --std {std}: write a number for each channel, like 0.49,0.48,0.45") from None
    if not all(math.isfinite(value) for value in (*means, *stds)):
        raise InputError(f"--mean {mean} --std {std}: means and standard deviations are finite")
    if not all(value > 0 for value in stds):
        raise InputError(f"--std {std}: a standard deviation is above 0")
    return means, stds


def _header(path: Path) -> Header | None:
    try:
        return read_header(path)
    except InputError:  # no safetensors; `read` says what it is then
        return None
