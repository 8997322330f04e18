"""What a training run stands on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from absld.data.dataset import Card, read_split, to_images
from absld.networks.zoo import Spec
from absld.params.attacks import Walk
from absld.params.networks import Normalisation
from absld.params.train import Augmentation
from absld.shapes import Images, Labels


@dataclass(frozen=True)
class Task:
    """Images on the device, and what is done with them whatever the method."""

    classes: tuple[str, ...]
    x: torch.Tensor
    """Training images, uint8, (N, channels, height, width)."""
    y: Labels
    x_validation: Images
    y_validation: Labels
    augmentation: Augmentation
    validation: Walk
    """The attack after every epoch."""
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
    validation: Walk,
    seed: int,
) -> Task:
    """Put the training split and the split that selects the epoch on the device.

    `dataset` maps ``train_x``, ``train_y`` and the same of `select_on` to the files of the dataset folder.
    """
    train = read_split(dataset["train_x"], dataset["train_y"])
    chosen = read_split(dataset[f"{select_on}_x"], dataset[f"{select_on}_y"])
    return Task(
        classes=tuple(card.classes),
        x=torch.from_numpy(train.x.transpose(0, 3, 1, 2).copy()).to(device),
        y=torch.from_numpy(train.y.copy()).to(device),
        x_validation=to_images(chosen.x).to(device),
        y_validation=torch.from_numpy(chosen.y.copy()).to(device),
        augmentation=augmentation,
        validation=validation,
        seed=seed,
    )


def spec_for(architecture: str, normalisation: Normalisation | None, card: Card) -> Spec:
    """The network that fits the data set."""
    constants = None if normalisation is None else (tuple(normalisation.mean), tuple(normalisation.std))
    return Spec(architecture, len(card.classes), card.channels, card.size, constants)
