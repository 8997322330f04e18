"""Which images survive which attack: chunk by chunk, each chunk with its own seed and, when done, its own file.

A chunk is a fixed set of images, and its random numbers depend on (seed, attack, chunk) alone. So the verdicts are the
same however often the work is interrupted, and whoever does which chunk.
"""

from collections.abc import Sequence
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
        for attack in plan:
            self.telling.plan(len(attack.rows) * attack.passes)
        found: dict[str, Verdict] = {}
        for attack in plan:
            alive = np.ones(len(self.split), dtype=np.bool_)
            if attack.after is not None:
                before = found[attack.after]
                alive[:] = False
                alive[before.rows] = before.survived
            parts = [
                self._remembered(attack, number, rows, alive[rows])
                for number, rows in enumerate(chunks(attack.rows, self.chunk))
            ]
            joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            found[attack.key] = Verdict(attack.rows, **joined)
        return found

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
