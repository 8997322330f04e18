"""What the network takes each image for after which attack: chunk by chunk, each with its own seed and, done, its file.

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
from absld.evaluation.selection import Rows, balanced, chunks
from absld.evaluation.telling import Telling
from absld.seeds import stream
from absld.statistics.metrics import ClassTable

Labels16 = NDArray[np.int16]
NOT_ATTACKED = -1


@dataclass(frozen=True)
class Kept:
    """Adversarial examples."""

    rows: Rows
    x: NDArray[np.float32]
    """(n, channels, height, width), in [0, 1]."""


def fewest(parts: Sequence[Kept], y: NDArray[np.int64], n: int) -> Kept:
    """The first of each class in turn, until there are `n`, by row. `y` are the labels of the whole split.

    Choosing from parts that were chosen like this gives what choosing from everything would have given.
    """
    rows = np.concatenate([part.rows for part in parts])
    x = np.concatenate([part.x for part in parts])
    order = np.argsort(rows)
    chosen = order[balanced(y[rows[order]], n)]
    return Kept(rows[chosen], x[chosen])


@dataclass(frozen=True)
class Verdict:
    """What one attack left."""

    rows: Rows
    """The images that were to be attacked."""
    y: NDArray[np.int64]
    """Their labels."""
    label: Labels16
    """What they are taken for afterwards; in a cascade, after the part that changed it."""
    kept: Kept

    @property
    def survived(self) -> NDArray[np.bool_]:
        """Whether each image is classified correctly afterwards; in a cascade, after this part and all before it."""
        return np.asarray(self.label == self.y)

    def table(self, classes: int) -> ClassTable:
        """The same, counted by class."""
        return ClassTable.of(self.survived, self.y, classes)


@dataclass(frozen=True)
class Share:
    """Every `of`-th chunk, from `number`. Clean images are everyone's: the cascade asks for them."""

    number: int
    of: int

    def has(self, attack: Attack, chunk: int, place: int) -> bool:
        """Whether a chunk of the attack at `place` of the plan belongs to this share; a cascade stays in one."""
        turn = chunk if attack.after else chunk + place
        return attack.key == "clean" or turn % self.of == self.number


@dataclass(frozen=True)
class Bench:
    """What all attacks on one network have in common."""

    net: Forward
    split: Split
    classes: int
    seed: int
    chunk: int
    """Images that are attacked together."""
    keep: int
    """Adversarial examples that are kept of each attack."""
    telling: Telling
    scratch: Path | None
    """Folder of the finished chunks; None: nothing is remembered."""

    def verdicts(self, plan: Sequence[Attack]) -> dict[str, Verdict]:
        """Run all attacks; what the folder already has is read, not computed."""
        labels: dict[str, list[Labels16]] = {attack.key: [] for attack in plan}
        kept: dict[str, Kept] = {}
        for attack, done in self._done(plan, Share(0, 1)):
            labels[attack.key].append(done["label"])
            before = [kept[attack.key]] if attack.key in kept else []
            kept[attack.key] = fewest([*before, Kept(done["kept_rows"], done["kept_x"])], self.split.y, self.keep)
        return {
            attack.key: Verdict(
                attack.rows, self.split.y[attack.rows], np.concatenate(labels[attack.key]), kept[attack.key]
            )
            for attack in plan
        }

    def work(self, plan: Sequence[Attack], share: Share) -> None:
        """Run a share of all attacks, for the folder."""
        for _ in self._done(plan, share):
            pass

    def _done(self, plan: Sequence[Attack], share: Share) -> Iterator[tuple[Attack, Arrays]]:
        todo = {attack.key: self._todo(attack, share, place) for place, attack in enumerate(plan)}
        labels: dict[str, Labels16] = {}
        for attack in plan:
            own = labels[attack.key] = np.full(len(self.split), NOT_ATTACKED, np.int16)
            for number, rows, passes in todo[attack.key]:
                self.telling.begin(attack.key, passes)
                done = self._remembered(attack, number, rows, labels[attack.after][rows] if attack.after else None)
                self.telling.end(int((done["label"] == self.split.y[rows]).sum()), len(rows), told=attack.measured)
                own[rows] = done["label"]
                yield attack, done
            if attack.measured:
                self._tell_classes(attack, own.copy())

    def _todo(self, attack: Attack, share: Share, place: int) -> list[tuple[int, Rows, int]]:
        """Number, rows and passes of each chunk of a share; one that is there already needs none, and says so."""
        found = []
        for number, rows in enumerate(chunks(attack.rows, self.chunk)):
            if share.has(attack, number, place):
                passes, file = len(rows) * attack.passes, self._file(attack, number)
                there = file is not None and file.exists()
                self.telling.plan(passes, passes if there else 0)
                found.append((number, rows, 0 if there else passes))
        return found

    def _tell_classes(self, attack: Attack, label: Labels16) -> None:
        """Of our own images (`label`), and of those whose chunks others have finished."""
        for number, rows in enumerate(chunks(attack.rows, self.chunk)):
            theirs = self._stored(attack, number) if label[rows[0]] == NOT_ATTACKED else None
            if theirs is not None:
                label[rows] = theirs["label"]
        seen = np.flatnonzero(label != NOT_ATTACKED)
        if len(seen):
            self.telling.classes(
                attack.key, ClassTable.of(label[seen] == self.split.y[seen], self.split.y[seen], self.classes)
            )

    def _file(self, attack: Attack, number: int) -> Path | None:
        return self.scratch / f"{attack.key}-{number:05d}.npz" if self.scratch else None

    def _stored(self, attack: Attack, number: int) -> Arrays | None:
        """A finished chunk; None: there is none, or a power cut has left a file that cannot be read."""
        file = self._file(attack, number)
        try:
            return read_npz(file) if file is not None else None
        except (FileNotFoundError, ValueError):
            return None

    def _remembered(self, attack: Attack, number: int, rows: Rows, before: Labels16 | None) -> Arrays:
        done = self._stored(attack, number)
        if done is None:
            done = self.net.with_room(lambda: self._attacked(attack, number, rows, before), len(rows))
            file = self._file(attack, number)
            if file is not None:
                write_npz(file, done)
        return done

    def _attacked(self, attack: Attack, number: int, rows: Rows, before: Labels16 | None) -> Arrays:
        right = self.split.y[rows]
        label = np.full(len(rows), NOT_ATTACKED, np.int16) if before is None else before.copy()
        alive = np.ones(len(rows), np.bool_) if before is None else before == right
        targets = rows[alive]
        x = to_images(self.split.x[targets]).to(self.net.device)
        if not len(targets):
            return {"label": label, "kept_rows": targets, "kept_x": x.cpu().numpy()}
        refuse_range(x)
        y = torch.from_numpy(self.split.y[targets]).to(self.net.device)
        seed = stream(self.seed, attack.stream or attack.key, number)
        with seeded(seed, self.net.device):
            x_adv = attack.perturb(x, y, seed)
        refuse_escape(x, x_adv, attack.eps, attack.key)
        z = self.net.judge(x_adv)
        refuse_logits(z, self.classes)
        if attack.key == "clean":
            refuse_probabilities(z)
        label[alive] = z.argmax(1).cpu().numpy()
        wanted = label[alive] != right[alive] if attack.keep is None else np.isin(targets, attack.keep)
        kept = fewest([Kept(targets[wanted], x_adv.cpu().numpy()[wanted])], self.split.y, self.keep)
        return {"label": label, "kept_rows": kept.rows, "kept_x": kept.x}
