"""A checkpoint and its best weights belong together, wherever a kill came."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from absld.networks.zoo import Spec, build
from absld.training.checkpoint import Checkpoint
from absld.training.run import Run

CPU = torch.device("cpu")
SCORES = (0.1, 0.3, 0.2, 0.5, 0.4)
"""Epochs 1, 2 and 4 are each better than all before."""


class KilledError(BaseException):
    """What a kill is to this test: nothing after it happens."""


def new_run() -> Run:
    torch.manual_seed(0)
    student = build(Spec("tiny_resnet8", 2, 1, 8, None))
    return Run(student, torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9), {})


def train(run: Run, checkpoint: Checkpoint, made: dict[int, torch.Tensor], salt: int, *, keep_last: bool) -> None:
    """The epochs that are left. An epoch that is done twice has other weights the second time, as on a GPU."""
    first = next(run.student.parameters())
    for epoch in range(run.epoch + 1, len(SCORES) + 1):
        run.epoch = epoch
        with torch.no_grad():
            first.fill_(100 * salt + epoch)
        made[epoch] = first.detach().clone()
        run.judge((SCORES[epoch - 1], 0.0), keep_last=keep_last)
        checkpoint.save(run.memory())


def first_of(weights: Any) -> torch.Tensor:
    return next(iter(weights.values()))  # type: ignore[no-any-return]


@pytest.mark.parametrize("keep_last", [False, True])
def test_a_kill_at_any_point_leaves_the_best_weights_of_the_epoch_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_last: bool
) -> None:
    for kill_at in itertools.count():
        folder, made, steps = tmp_path / str(kill_at), {}, itertools.count()  # type: ignore[var-annotated]

        def step(whole: Any, *arguments: Any, at: int = kill_at, steps: Any = steps, **more: Any) -> Any:
            if next(steps) == at:
                raise KilledError
            return whole(*arguments, **more)

        killed = False
        with monkeypatch.context() as patch:
            for owner, name in ((Path, "replace"), (Path, "unlink"), (torch, "save")):
                whole = getattr(owner, name)
                patch.setattr(owner, name, lambda *a, _whole=whole, **k: step(_whole, *a, **k))
            try:
                train(new_run(), Checkpoint(folder), made, 1, keep_last=keep_last)
            except KilledError:
                killed = True
        run, checkpoint = new_run(), Checkpoint(folder)
        if memory := checkpoint.load(CPU):
            run.recall(memory)
            assert torch.equal(first_of(run.best_weights), made[run.best_epoch])
            assert torch.equal(first_of(run.weights), made[run.epoch])
        train(run, checkpoint, made, 2, keep_last=keep_last)
        assert run.best_epoch == (5 if keep_last else 4)
        again = new_run()
        again.recall(checkpoint.load(CPU))  # type: ignore[arg-type]
        assert torch.equal(first_of(again.best_weights), made[again.best_epoch])
        assert len(list(folder.glob("best-*.pt"))) == (0 if keep_last else 1)
        if not killed:
            break
    assert kill_at >= 3 * len(SCORES)


def test_the_best_weights_are_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda value, path: (written.append(path.name), save(value, path))[1])
    train(new_run(), Checkpoint(tmp_path), {}, 1, keep_last=False)
    best = [name for name in written if "best" in name]
    assert ["best-2" in best[0], "best-4" in best[1], len(best)] == [True, True, 2]  # 1 was surpassed at once
    assert len(written) == len(SCORES) + 2


def test_a_run_that_has_ended_leaves_nothing(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    train(new_run(), checkpoint, {}, 1, keep_last=False)
    assert len(list(tmp_path.iterdir())) == 2
    checkpoint.remove()
    assert not list(tmp_path.iterdir())


def test_a_broken_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save({"epoch": 1, "best_weights": None})
    with pytest.raises(Exception, match="pickle"):
        checkpoint.save({"epoch": (value for value in ()), "best_weights": None})
    assert checkpoint.load(CPU) == {"epoch": 1, "best_weights": None}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
