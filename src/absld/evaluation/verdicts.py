"""Which images survive which attack: chunk by chunk, each chunk with its own seed and, when done, its own file.

A chunk is a fixed set of images, and its random numbers depend on (seed, attack, chunk) alone. So the verdicts are the
same however often the work is interrupted, and whoever does which chunk.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from absld.data.dataset import Split, to_images
from absld.evaluation.arrays import Arrays, read_npz, write_npz
from absld.evaluation.forward import Forward, seeded
from absld.evaluation.plan import Attack
from absld.evaluation.refusals import refuse_escape, refuse_logits, refuse_probabilities, refuse_range
from absld.evaluation.selection import Rows, chunks
from absld.evaluation.telling import Telling
from absld.seeds import stream


@dataclass(frozen=True)
class Verdict:
    """What one attack left."""

    rows: Rows
    """The images that were to be attacked."""
    survived: NDArray[np.bool_]
    """Whether each of them is classified correctly afterwards; in a cascade, after this part and all before it."""
    kept_rows: Rows
    kept_x: NDArray[np.float32]
    """Adversarial examples of `kept_rows`: (n, channels, height, width), in [0, 1]."""


@dataclass(frozen=True)
class Share:
    """Every `of`-th chunk of each attack, from `number`. Clean images are everyone's: the cascade asks for them."""

    number: int
    of: int

    def has(self, attack: Attack, chunk: int) -> bool:
        """Whether a chunk belongs to this share."""
        return attack.key == "clean" or chunk % self.of == self.number


@dataclass(frozen=True)
class Bench:
    """What all attacks on one network have in common."""

    net: Forward
    split: Split
    classes: int
    eps: float
    seed: int
    chunk: int
    """Images that are attacked together."""
    telling: Telling
    scratch: Path | None
    """Folder of the finished chunks; None: nothing is remembered."""

    def verdicts(self, plan: Sequence[Attack]) -> dict[str, Verdict]:
        """Run all attacks; what the folder already has is read, not computed."""
        parts: dict[str, list[Arrays]] = {attack.key: [] for attack in plan}
        for attack, done in self._done(plan, Share(0, 1)):
            parts[attack.key].append(done)
        return {attack.key: Verdict(attack.rows, **_joined(parts[attack.key])) for attack in plan}

    def work(self, plan: Sequence[Attack], share: Share) -> None:
        """Run a share of all attacks, for the folder."""
        for _ in self._done(plan, share):
            pass

    def _done(self, plan: Sequence[Attack], share: Share) -> Iterator[tuple[Attack, Arrays]]:
        todo = [
            (attack, number, rows)
            for attack in plan
            for number, rows in enumerate(chunks(attack.rows, self.chunk))
            if share.has(attack, number)
        ]
        for attack, _, rows in todo:
            self.telling.plan(len(rows) * attack.passes)
        left: dict[str | None, NDArray[np.bool_]] = {None: np.ones(len(self.split), dtype=np.bool_)}
        for attack, number, rows in todo:
            done = self._remembered(attack, number, rows, left[attack.after][rows])
            left.setdefault(attack.key, np.zeros(len(self.split), dtype=np.bool_))[rows] = done["survived"]
            yield attack, done

    def _remembered(self, attack: Attack, number: int, rows: Rows, alive: NDArray[np.bool_]) -> Arrays:
        self.telling.begin(attack.key, len(rows) * attack.passes)
        file = self.scratch / f"{attack.key}-{number:05d}.npz" if self.scratch else None
        if file is not None and file.exists():
            done = read_npz(file)
        else:
            done = self.net.with_room(lambda: self._attacked(attack, number, rows, alive), len(rows))
            if file is not None:
                write_npz(file, done)
        self.telling.end(int(done["survived"].sum()), len(rows))
        return done

    def _attacked(self, attack: Attack, number: int, rows: Rows, alive: NDArray[np.bool_]) -> Arrays:
        survived, targets = alive.copy(), rows[alive]
        x = to_images(self.split.x[targets]).to(self.net.device)
        if not len(targets):
            return {"survived": survived, "kept_rows": targets, "kept_x": x.cpu().numpy()}
        refuse_range(x)
        y = torch.from_numpy(self.split.y[targets]).to(self.net.device)
        seed = stream(self.seed, attack.key, number)
        with seeded(seed, self.net.device):
            x_adv = attack.perturb(x, y, seed)
        refuse_escape(x, x_adv, self.eps, attack.key)
        z = self.net.judge(x_adv)
        refuse_logits(z, self.classes)
        if attack.key == "clean":
            refuse_probabilities(z)
        survived[alive] = (z.argmax(1) == y).cpu().numpy()
        keep = ~survived[alive] if attack.keep is None else np.isin(targets, attack.keep)
        return {"survived": survived, "kept_rows": targets[keep], "kept_x": x_adv.cpu().numpy()[keep]}


def _joined(parts: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
