"""The sources of images, and the only module that knows torchvision."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from absld.data.archives import Archive, lay_out
from absld.data.folders import Listing, digest, listing_of
from absld.data.parts import InFiles, InMemory, Part, Source
from absld.params.data import Data, Digits, ImageFolder, Public

FASHION = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""Fashion-MNIST's archives to the sha256 of what they hold.

Debian's package has them with another gzip header; given the names and times of the authors', of 31 August 2017, its
files have the published md5.
"""


def open_source(data: Data, root: Path, cache: Path) -> Source:
    """Open what the section `data` of params.yaml names.

    Args:
        data: the section.
        root: the project's folder, which relative paths start from.
        cache: where downloads are kept.

    Raises:
        InputError: a folder, an archive or an image is missing or broken, or an address does not answer.

    """
    if isinstance(data, Digits):
        return _digits()
    if isinstance(data, ImageFolder):
        return _image_folder(listing_of(root / data.root), data)
    return _public(data, None if data.root is None else root / data.root, cache / data.source)


def _digits() -> Source:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    y = bunch.target.astype(np.int64)
    # a fixed rule, so that the test images are the same whatever the seed: 360 of them, each class to within one
    test = np.zeros(len(y), dtype=bool)
    test[np.argsort(y, kind="stable")[::5]] = True
    return Source(
        name="digits",
        classes=[str(digit) for digit in range(10)],
        class_names="the digit that was written",
        channels=1,
        size=8,
        train=Part(InMemory(x[~test]), y[~test]),
        test=Part(InMemory(x[test]), y[test]),
        source="scikit-learn's load_digits: UCI's Optical Recognition of Handwritten Digits, its test part (Alpaydin "
        "and Kaynak 1998); values v of 0 to 16 as round(255 v / 16); every fifth image, counted class after class, is "
        "a test image",
        licence="CC BY 4.0 (UCI Machine Learning Repository)",
    )


def _image_folder(listing: Listing, data: ImageFolder) -> Source:
    train, test = (_part_of_files(listing.files[name]) for name in ("train", "test"))
    return Source(
        name=data.name or f"image-folder-{listing.root.resolve().name}",
        classes=listing.classes,
        class_names="the names of the class folders",
        channels=data.channels,
        size=data.image_size,
        train=train,
        test=test,
        source="your own images; the shorter side resized to the size, then the centre cropped",
        licence="not known: your own images",
        folder_sha256=digest(listing),
    )


def _part_of_files(images: list[list[Path]]) -> Part:
    counts = [len(of_class) for of_class in images]
    paths = [path for of_class in images for path in of_class]
    return Part(InFiles(paths), np.repeat(np.arange(len(images), dtype=np.int64), counts))


class _Published(NamedTuple):
    """A public data set as torchvision knows it."""

    archives: list[Archive]
    open: Callable[[Path, bool, bool], Any]
    """Of a folder, whether the training part is meant, and whether archives may be unpacked first."""
    arrays: Callable[[Any], tuple[Any, Any]]
    """Of an opened part: uint8, (N, height, width, channels), and labels."""
    classes: list[str] | None
    """None: as the opened data set says."""
    class_names: str
    source: str
    licence: str


def _public(data: Public, given: Path | None, cache: Path) -> Source:
    published = _published(data.source)
    train, test = _parts(published, given, cache)
    (x, y), (x_test, y_test) = published.arrays(train), published.arrays(test)
    return Source(
        name=data.source,
        # a slash would look like one more level in the names of metrics
        classes=[str(name).replace("/", "-") for name in published.classes or train.classes],
        class_names=published.class_names,
        channels=x.shape[3],
        size=x.shape[1],
        train=Part(InMemory(x), np.asarray(y, dtype=np.int64)),
        test=Part(InMemory(x_test), np.asarray(y_test, dtype=np.int64)),
        source=published.source,
        licence=published.licence,
    )


def _parts(published: _Published, given: Path | None, cache: Path) -> tuple[Any, Any]:
    """The training and the test part; the user's own folder is left as it is."""
    if given is not None and all(archive.contents is None for archive in published.archives):
        with suppress(RuntimeError):  # torchvision knows the checksums of what it has unpacked, and misses a file
            return published.open(given, True, False), published.open(given, False, False)
    scratch = cache / "unpacked"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        lay_out(published.archives, given, cache, scratch)
        return published.open(scratch, True, True), published.open(scratch, False, True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _published(source: str) -> _Published:
    from torchvision import datasets as known

    if source == "svhn":
        return _svhn(known.SVHN)
    if source == "fashion-mnist":
        return _fashion(known.FashionMNIST)
    return _cifar(known.CIFAR10, "CIFAR-10") if source == "cifar10" else _cifar(known.CIFAR100, "CIFAR-100")


def _cifar(cifar: Any, name: str) -> _Published:
    return _Published(
        archives=[Archive("", cifar.filename, cifar.tgz_md5, (cifar.url,))],
        open=lambda folder, train, unpack: cifar(folder, train=train, download=unpack),
        arrays=lambda part: (part.data, part.targets),
        classes=None,
        class_names="the names in the archive, fine ones where there are two kinds",
        source=f"{name} (Krizhevsky 2009), the archive of its author",
        licence="none stated by its author",
    )


def _fashion(fashion: Any) -> _Published:
    return _Published(
        archives=[
            Archive(
                "FashionMNIST/raw", name, md5, tuple(mirror + name for mirror in fashion.mirrors), FASHION.get(name)
            )
            for name, md5 in fashion.resources
        ],
        open=lambda folder, train, unpack: fashion(folder, train=train, download=unpack),
        arrays=lambda part: (part.data.numpy()[..., None], part.targets.numpy()),
        classes=fashion.classes,
        class_names="the articles of clothing that its authors list",
        source="Fashion-MNIST (Xiao, Rasul and Vollgraf 2017), the archives of its authors",
        licence="MIT (Zalando SE)",
    )


def _svhn(svhn: Any) -> _Published:
    files = [svhn.split_list[split] for split in ("train", "test")]
    return _Published(
        archives=[Archive("", name, md5, (url,)) for url, name, md5 in files],
        open=lambda folder, train, _: svhn(folder, split="train" if train else "test"),
        arrays=lambda part: (part.data.transpose(0, 2, 3, 1), part.labels),
        classes=[str(digit) for digit in range(10)],
        class_names="the digit in the middle",
        source="SVHN, cropped digits, without the extra part (Netzer et al. 2011), the archives of its authors",
        licence="for non-commercial use only, as its authors say",
    )
