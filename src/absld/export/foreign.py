"""An ONNX file that somebody made, as a network: images in [0, 1] in, logits out."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from absld.data.card import Card
from absld.errors import InputError
from absld.export.parity import Array, Network
from absld.export.session import open_session

FLOAT32 = "tensor(float)"


def open_network(path: Path, card: Card, threads: int) -> Network:
    """The file as ONNX Runtime computes it on the CPU; its first output are the logits.

    Raises:
        InputError: there is no such file, it cannot be run, or it does not make logits of the images of `card`.

    """
    session = _session(path, threads)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1:
        raise InputError(f"{path} has {len(inputs)} inputs, and only images can be given: export it with one")
    batch, names = _fits(path, inputs[0], card), (inputs[0].name, outputs[0].name)

    def ask(images: Array) -> Array:
        z: Array = session.run([names[1]], {names[0]: images})[0]
        return z

    network = ask if batch is None else lambda images: _in_batches(ask, images, batch)
    _refuse_no_logits(path, network, outputs[0].type, card)
    return network


def class_names(path: Path) -> list[str] | None:
    """The classes that a file of ours knows, in its order; None: it does not tell.

    Raises:
        InputError: there is no such file, or it cannot be run.

    """
    told = _session(path, 1).get_modelmeta().custom_metadata_map.get("classes", "null")
    try:
        classes = json.loads(told)
    except ValueError:
        return None
    return classes if isinstance(classes, list) and all(isinstance(name, str) for name in classes) else None


def _session(path: Path, threads: int) -> Any:
    if not path.is_file():
        raise InputError(f"there is no file {path}: correct the path")
    try:
        return open_session(path.read_bytes(), threads)
    except Exception as error:  # onnxruntime has a dozen kinds, with nothing in common
        raise InputError(f"{path} is no ONNX file that can be run: {error}") from None


def _fits(path: Path, given: Any, card: Card) -> int | None:
    """The batch size that the file insists on; None: any."""
    wanted = (card.channels, card.size, card.size)
    batch, *image = given.shape if len(given.shape) == 4 else (None, *given.shape)
    pairs = zip(image, wanted, strict=False)
    fits = len(image) == 3 and all(found == size or not isinstance(found, int) for found, size in pairs)
    if given.type != FLOAT32 or not fits:
        raise InputError(
            f"{path} takes {given.type} {given.shape}, and {card.name} has float32 images (batch, channels, height, "
            f"width) of {wanted}: choose the data that it was trained for"
        )
    return batch if isinstance(batch, int) else None


def _refuse_no_logits(path: Path, network: Network, kind: str, card: Card) -> None:
    """Ask about two black images: the shapes that a file tells may be mere names. `kind` is the type of its answers."""
    classes = len(card.classes)
    try:
        shape = np.shape(network(np.zeros((2, card.channels, card.size, card.size), np.float32)))
    except Exception as error:  # as in _session
        raise InputError(
            f"{path} fails on images of {card.name}: {error}: choose the data that it was trained for"
        ) from None
    if kind != FLOAT32 or len(shape) != 2 or shape[0] != 2:
        raise InputError(
            f"{path} answers two images with {kind} {[*shape]}, and logits are {FLOAT32} [2, {classes}]: export it "
            "with the logits as its first output"
        )
    if shape[1] != classes:
        raise InputError(
            f"{path} tells {shape[1]} classes apart, and {card.name} has {classes}: choose the data that it was "
            "trained for"
        )


def _in_batches(ask: Network, images: Array, batch: int) -> Array:
    """In batches of exactly that size: the last one is filled up with its last image."""
    rows = np.minimum(np.arange(-(-len(images) // batch) * batch), len(images) - 1)
    found = [ask(images[rows[start : start + batch]]) for start in range(0, len(rows), batch)]
    return np.concatenate(found)[: len(images)]
