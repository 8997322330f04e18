"""Adversarial examples that somebody made of the test images, and what a network makes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from absld.data.dataset import Split, to_images
from absld.errors import EvaluationRefusedError, InputError
from absld.evaluation.arrays import Arrays, read_npz
from absld.evaluation.forward import Forward
from absld.evaluation.refusals import refuse_escape, refuse_logits
from absld.evaluation.selection import Rows
from absld.evaluation.verdicts import Kept, Labels16, Verdict

CHOSEN = "aa"
"""Of AutoAttack only the examples that fooled their network are kept; images that withstood it are not among them."""


@dataclass(frozen=True)
class Examples:
    """Adversarial examples by attack, as adversarial.npz has them."""

    of: Mapping[str, Kept]

    @classmethod
    def read(cls, path: Path, split: Split, eps: float, classes: Sequence[str]) -> Self:
        """Read `<attack>_x`, `<attack>_y` and `<attack>_index` of each attack, and check them against the test images.

        Raises:
            InputError: there is no such file, arrays are missing or of other shapes, or the examples are not of these
                test images: other labels, another size, or beyond `eps`; or a class has none that counts.

        """
        try:
            arrays = read_npz(path)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path} cannot be read as an .npz of adversarial examples ({error}): give the adversarial.npz of an "
                "evaluation"
            ) from None
        attacks = [name.removesuffix("_x") for name in arrays if name.endswith("_x") and arrays[name].size]
        if not attacks:
            raise InputError(f"{path} holds no adversarial examples: <attack>_x, <attack>_y and <attack>_index")
        found = cls({attack: _checked(path, arrays, attack, split, eps) for attack in attacks})
        missing = [name for label, name in enumerate(classes) if label not in split.y[found.rows]]
        if missing:
            told = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
            raise InputError(
                f"{path} has no example of {told}, so no accuracy under it: give examples of every class, as an "
                f"evaluation with PGD keeps them where evaluate.keep in params.yaml is {len(classes)} or more"
            )
        return found

    @property
    def rows(self) -> Rows:
        """The test images that count: chosen without a look at what became of them, if any were."""
        unbiased = [kept.rows for attack, kept in self.of.items() if attack != CHOSEN]
        return np.unique(np.concatenate(unbiased or [kept.rows for kept in self.of.values()]))

    def verdict(self, net: Forward, split: Split, classes: int, batch: int) -> Verdict:
        """An image survives if it survives every example made of it; else the first wrong answer is its label."""
        rows = self.rows
        y = split.y[rows]
        label: Labels16 = y.astype(np.int16)
        for kept in self.of.values():
            _, at, among = np.intersect1d(rows, kept.rows, assume_unique=True, return_indices=True)
            found = predicted(net, kept.x[among], classes, batch)
            label[at] = np.where(label[at] == y[at], found, label[at])
        return Verdict(rows, y, label, Kept(rows[:0], to_images(split.x[:0]).numpy()))

    def left(self, net: Forward, split: Split, classes: int, batch: int) -> dict[str, dict[str, float]]:
        """By attack: how many examples there are, and the share that is classified correctly."""
        return {
            attack: {
                "n": len(kept.rows),
                "accuracy": float((predicted(net, kept.x, classes, batch) == split.y[kept.rows]).mean()),
            }
            for attack, kept in self.of.items()
        }


def predicted(net: Forward, x: NDArray[np.float32], classes: int, batch: int) -> Labels16:
    """What each image is taken for."""
    labels = [np.zeros(0, np.int16)]
    for start in range(0, len(x), batch):
        z = net.judge(torch.from_numpy(x[start : start + batch]).to(net.device))
        refuse_logits(z, classes)
        labels.append(z.argmax(1).cpu().numpy().astype(np.int16))
    return np.concatenate(labels)


def _checked(path: Path, arrays: Arrays, attack: str, split: Split, eps: float) -> Kept:
    missing = [name for name in (f"{attack}_y", f"{attack}_index") if name not in arrays]
    if missing:
        raise InputError(f"{path} has {attack}_x but not {' and '.join(missing)}: labels, and rows of the test split")
    x, y, rows = (arrays[f"{attack}_{what}"] for what in ("x", "y", "index"))
    if x.ndim != 4 or rows.dtype.kind not in "iu" or rows.shape != (len(x),):
        raise InputError(
            f"{path}: {attack}_x is {x.dtype} {x.shape} and {attack}_index {rows.dtype} {rows.shape}: they must be "
            "float32 (N, channels, height, width) and whole numbers (N,), a row of the test split for each example"
        )
    known = len(np.unique(rows)) == len(rows) and rows.min() >= 0 and rows.max() < len(split)
    if not known or not np.array_equal(split.y[rows], y):
        raise InputError(
            f"{path}: the labels of {attack} are not those of the test images: they are of another data set"
        )
    clean = to_images(split.x[rows])
    if x.dtype != np.float32 or x.shape != tuple(clean.shape):
        raise InputError(f"{path}: {attack}_x is {x.dtype} {x.shape}, and must be float32 {tuple(clean.shape)}")
    try:
        refuse_escape(
            clean, torch.from_numpy(x), eps, attack, "they are not of this evaluate.eps and these test images"
        )
    except EvaluationRefusedError as error:
        raise InputError(f"{path}: {error}") from None
    order = np.argsort(rows)
    return Kept(rows[order], x[order])
