"""Labels and probabilities of image files by an exported student, which says itself what it must be given.

Torch is not needed, nor the project that the file comes from.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from absld.data.images import read_image
from absld.errors import InputError
from absld.export.session import open_session

BATCH = 64
"""Images that are read and classified together."""


@dataclass(frozen=True)
class Prediction:
    """What the file says of one image."""

    path: Path
    probabilities: dict[str, float]
    """Of the most probable classes, the first one first: softmax of the logits."""

    @property
    def label(self) -> str:
        """The most probable class."""
        return next(iter(self.probabilities))


class Student:
    """An exported file, opened."""

    def __init__(self, path: Path) -> None:
        """Open it and read what it says of itself.

        Raises:
            InputError: there is no such file, it is no ONNX, or it was not exported here.

        """
        if not path.is_file():
            raise InputError(f"there is no file {path}: give the path of a student.onnx")
        try:
            self._session = open_session(path.read_bytes(), threads=0)
        except Exception as error:  # onnxruntime has a dozen kinds, with nothing in common
            raise InputError(f"{path} is no ONNX file that can be run: {error}") from error
        known = self._session.get_modelmeta().custom_metadata_map
        try:
            self.classes: list[str] = json.loads(known["classes"])
            takes, gives = json.loads(known["input"]), json.loads(known["output"])
            self._names = takes["name"], gives["name"]
            _, self.channels, self.size, _ = takes["shape"]
            understood = takes["range"] == [0, 1] and gives["softmax"] is False
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(
                f"{path} does not say which classes and images it is for: only files that the stage export wrote do"
            ) from error
        if not understood:
            raise InputError(f"{path} wants other pixels than those in [0, 1], or does not give logits: not known here")

    def predict(self, paths: Sequence[Path], top: int = 1) -> Iterator[Prediction]:
        """The `top` most probable classes of each image, in the order of `paths`.

        An image of another size is brought to size as those were that the student learnt from (`read_image`).

        Raises:
            InputError: a file is missing, or no image.

        """
        for start in range(0, len(paths), BATCH):
            some = paths[start : start + BATCH]
            for path, of in zip(some, self._probabilities(some), strict=True):
                best = np.argsort(-of, kind="stable")[:top]
                yield Prediction(path, {self.classes[number]: float(of[number]) for number in best})

    def _probabilities(self, paths: Sequence[Path]) -> NDArray[np.float64]:
        pixels = np.stack([read_image(path, self.size, self.channels) for path in paths])
        images = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
        given, wanted = self._names
        return softmax(self._session.run([wanted], {given: images})[0])


def softmax(z: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities from logits, (batch, classes), in double precision."""
    powers = np.exp(z.astype(np.float64) - z.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def image_files(given: Sequence[Path]) -> list[Path]:
    """Files as they are given; for a folder the images below it, sorted by path, hidden ones left out.

    Raises:
        InputError: there is nothing at a path, or no image below a folder.

    """
    return [file for path in given for file in (_below(path) if path.is_dir() else [_there(path)])]


def _there(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"there is no file {path}: give images, or folders of them")
    return path


def _below(folder: Path) -> list[Path]:
    from PIL import Image

    kinds = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in kinds
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise InputError(f"there are no images in {folder}: their names end in .png, .jpg and the like")
    return found
