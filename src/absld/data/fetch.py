"""A data set of any source as files: three splits of two arrays each, and the card that describes them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from absld.data.card import SPLITS, Card, write_card
from absld.data.parts import Part, Source
from absld.data.sources import open_source
from absld.data.splits import hold_out
from absld.params.data import Data
from absld.records.files import replacing, sha256_of

DOWNLOADS = Path(".absld/downloads")
"""Where archives are kept, under the project's folder."""


def fetch(data: Data, root: Path, writes: Mapping[str, Path]) -> Card:
    """Fetch, split and write a data set; the same parameters and images give the same bytes.

    Args:
        data: the section `data` of params.yaml.
        root: the project's folder, which relative paths start from.
        writes: `train_x`, `train_y`, the same of `validation` and `test`, and `card`, to the files to write. x is
            uint8, (N, height, width, channels); y is int64, (N,).

    Raises:
        InputError: the source is missing or broken, or a class is too small for the validation split.

    """
    source = open_source(data, root, root / DOWNLOADS)
    held = hold_out(source.train.y, data.validation_per_class, data.split_seed, source.classes, data.train_per_class)
    rows = {
        "train": (source.train, held.train),
        "validation": (source.train, held.validation),
        "test": (source.test, np.arange(len(source.test.y))),
    }
    for split, (part, chosen) in rows.items():
        _write_labels(writes[f"{split}_y"], part.y[chosen])
        _write_images(writes[f"{split}_x"], source, part, chosen)
    card = _card(source, data, writes, {split: part.y[chosen] for split, (part, chosen) in rows.items()})
    write_card(writes["card"], card)
    return card


def _write_labels(path: Path, y: NDArray[np.int64]) -> None:
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, y)


def _write_images(path: Path, source: Source, part: Part, rows: NDArray[np.int64]) -> None:
    shape = (len(rows), source.size, source.size, source.channels)
    with replacing(path) as unfinished:
        out = open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=shape)
        part.x.read_into(out, rows)
        out.flush()


def _card(source: Source, data: Data, writes: Mapping[str, Path], labels: Mapping[str, NDArray[np.int64]]) -> Card:
    arrays = [writes[f"{split}_{axis}"] for split in SPLITS for axis in ("x", "y")]
    return Card(
        name=source.name,
        classes=source.classes,
        class_names=source.class_names,
        channels=source.channels,
        size=source.size,
        counts={split: _counts(y, source.classes) for split, y in labels.items()},
        sha256={path.name: sha256_of(path) for path in arrays},
        source=source.source,
        licence=source.licence,
        validation=f"{data.validation_per_class} images of each class, taken from the training part by the split seed "
        f"{data.split_seed}",
        folder_sha256=source.folder_sha256,
    )


def _counts(y: NDArray[np.int64], classes: list[str]) -> dict[str, int]:
    counts = np.bincount(y, minlength=len(classes)).tolist()
    return dict(zip(classes, counts, strict=True))
