"""What a training run stands on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from absld.data.dataset import Card, read_split, to_images
from absld.networks.zoo import Spec
from absld.params.attacks import Walk
from absld.params.networks import Normalisation
from absld.params.recipe import Method, OwnInput
from absld.params.train import Augmentation
from absld.shapes import Images, Labels


class Held(NamedTuple):
    """Images that are measured and not trained on, on the device."""

    x: Images
    y: Labels


@dataclass(frozen=True)
class Task:
    """Images on the device, and what is done with them whatever the method."""

    classes: tuple[str, ...]
    x: torch.Tensor
    """Training images, uint8, (N, channels, height, width)."""
    y: Labels
    validation: Held
    """What a method may learn from, and what selects the epoch unless `selection` is another split."""
    selection: Held
    """What selects the epoch: the same, or the test images to repeat the papers."""
    augmentation: Augmentation
    attack: Walk
    """After every epoch, on both."""
    seed: int

    @property
    def device(self) -> torch.device:
        """Where all of it lives."""
        return self.x.device


def read_task(
    dataset: Mapping[str, Path],
    card: Card,
    device: torch.device,
    *,
    select_on: str,
    augmentation: Augmentation,
    attack: Walk,
    seed: int,
) -> Task:
    """Put the training split and what is measured after every epoch on the device.

    `dataset` maps ``train_x``, ``train_y`` and the same of the other splits to the files of the dataset folder.
    """

    def held(split: str) -> Held:
        found = read_split(dataset[f"{split}_x"], dataset[f"{split}_y"])
        return Held(to_images(found.x).to(device), torch.from_numpy(found.y.copy()).to(device))

    train = read_split(dataset["train_x"], dataset["train_y"])
    validation = held("validation")
    return Task(
        classes=tuple(card.classes),
        x=torch.from_numpy(train.x.transpose(0, 3, 1, 2).copy()).to(device),
        y=torch.from_numpy(train.y.copy()).to(device),
        validation=validation,
        selection=validation if select_on == "validation" else held(select_on),
        augmentation=augmentation,
        attack=attack,
        seed=seed,
    )


def spec_for(architecture: str, normalisation: Normalisation | None, card: Card) -> Spec:
    """The network that fits the data set."""
    constants = None if normalisation is None else (tuple(normalisation.mean), tuple(normalisation.std))
    return Spec(architecture, len(card.classes), card.channels, card.size, constants)


def own_normalisation(block: Method, common: Normalisation | None) -> Normalisation | None:
    """What the network does to its input: as the method says, or as all do."""
    return (block.normalisation if isinstance(block, OwnInput) else None) or common


def own_augmentation(block: Method, common: Augmentation) -> Augmentation:
    """What each training image meets: what is common, with the method's own padding."""
    return common.model_copy(update={"padding": block.padding}) if isinstance(block, OwnInput) else common
