"""What can be known of a data set before anything is fetched: no torch, no torchvision, no pixels."""

from pathlib import Path

from absld.data.folders import listing_of
from absld.errors import InputError
from absld.params.data import FACTS, Data, Facts, ImageFolder, Public


def facts_of(data: Data, root: Path) -> Facts:
    """Say what the data set will be; an image folder is listed, a public set is known.

    Args:
        data: the section `data` of params.yaml.
        root: the project's folder, which relative paths start from.

    Raises:
        InputError: the folder that `data.root` names is missing, or an image folder is not as it must be.

    """
    if isinstance(data, ImageFolder):
        listing = listing_of(root / data.root)
        smallest = min(len(images) for images in listing.files["train"])
        return Facts(len(listing.classes), data.channels, data.image_size, smallest)
    if isinstance(data, Public) and data.root is not None and not (root / data.root).is_dir():
        raise InputError(f"data.root: there is no folder {root / data.root}; null downloads the archives")
    return FACTS[data.source]
