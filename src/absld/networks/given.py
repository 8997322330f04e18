"""A network in a file that the user names: one of ours, which says what it is, or anybody's checkpoint."""

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
        raise InputError(
            f"{path} says of itself: {'; '.join(different)}: correct the options, or the data in params.yaml"
        )
    return load(path)


def _header(path: Path) -> Header | None:
    try:
        return read_header(path)
    except InputError:  # no safetensors; `read` says what it is then
        return None
