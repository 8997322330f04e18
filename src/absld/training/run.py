"""What a training run has become so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from absld.methods.protocol import State
from absld.networks.zoo import Classifier
from absld.records.history import Row
from absld.training.averaging import Weights

Score = tuple[float, float]
"""Overall robust accuracy on the images that select, then clean average."""


@dataclass
class Run:
    """All that a checkpoint holds."""

    student: Classifier
    optimiser: torch.optim.Optimizer
    state: State
    epoch: int = 0
    """The last epoch that has ended, counted from 1."""
    rows: list[Row] = field(default_factory=list)
    best_epoch: int = 0
    best_score: Score = (-1.0, -1.0)
    best_is_averaged: bool = False
    best_weights: Weights = field(default_factory=dict)
    average: Weights = field(default_factory=dict)
    """Averaged weights, where the method averages and an epoch was accepted; else empty."""
    report: Mapping[str, float | str] = field(default_factory=dict)
    """How it was executed, for the log of the stage; no part of the memory."""

    @property
    def weights(self) -> Weights:
        """What the run would report now: the averaged weights where there are any, else the student's."""
        return self.average or self.student.backbone.state_dict()

    @property
    def values(self) -> dict[str, float]:
        """What the last epoch left in the history, by key; empty before the first."""
        return {row.key: row.value for row in self.rows if row.epoch == self.epoch}

    def judge(self, score: Score, *, keep_last: bool) -> None:
        """Remember these weights if they are the ones to keep; averaged ones before all that are not."""
        averaged = bool(self.average)
        if keep_last or (averaged, score) > (self.best_is_averaged, self.best_score):
            self.best_epoch, self.best_score, self.best_is_averaged = self.epoch, score, averaged
            self.best_weights = self._copied()

    def _copied(self) -> Weights:
        return {name: tensor.clone() for name, tensor in self.weights.items()}

    def take(self, weights: Weights) -> None:
        """Put `weights` into the student: there is nothing to train afterwards."""
        self.student.backbone.load_state_dict(weights)

    def memory(self) -> dict[str, Any]:
        """Plain tensors, numbers and lists. `best_weights` are None where they are those of the newest epoch."""
        return {
            "student": self.student.backbone.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "state": dict(self.state),
            "epoch": self.epoch,
            "rows": [tuple(row) for row in self.rows],
            "best": (self.best_epoch, self.best_score, self.best_is_averaged),
            "best_weights": None if self.best_epoch == self.epoch else self.best_weights,
            "average": self.average,
        }

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Become what `memory` was taken from."""
        self.take(memory["student"])
        self.optimiser.load_state_dict(memory["optimiser"])
        self.state = memory["state"]
        self.epoch = memory["epoch"]
        self.rows = [Row(*row) for row in memory["rows"]]
        self.average = memory["average"]
        self.best_epoch, self.best_score, self.best_is_averaged = memory["best"]
        self.best_weights = self._copied() if memory["best_weights"] is None else memory["best_weights"]


def on(device: torch.device, state: Mapping[str, Tensor]) -> State:
    """The state, where the student lives."""
    return {name: values.to(device) for name, values in state.items()}
