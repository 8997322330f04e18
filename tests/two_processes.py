"""One or two real processes (gloo) that train tiny networks; what they end with is written down for comparison."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from toy_problem import PARAMS, task, with_

from absld.data.augmentation import batches
from absld.data.task import Held, Task
from absld.engine.choose import Speed
from absld.engine.fast import Fast
from absld.engine.plain import Plain
from absld.engine.protocol import Engine
from absld.methods.protocol import Batch
from absld.methods.registry import METHODS, make
from absld.networks.frozen import frozen_view
from absld.networks.zoo import Classifier, Spec, build
from absld.params.load import load
from absld.training.checkpoint import Checkpoint
from absld.training.fit import begin, fit
from absld.training.run import Run
from absld.training.session import train_network

DIGITS = load(Path(__file__).parents[1] / "params.yaml")
SPEC = Spec("tiny_resnet8", 3, 1, 8, None)
BATCH = 13
"""Of 24 images: shares of 6 and 7, and of 5 and 6 in the last batch."""
EPOCHS = 2
Found = dict[str, Any]


class Exact(Plain):
    """In float64, where no sign of a gradient is a matter of rounding."""

    def batches(self, task: Task, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        for x, y in batches(task.x, task.y, batch_size, task.augmentation, generator):
            yield Batch(x.double(), y)


def block_of(name: str) -> Any:
    block = getattr(PARAMS.methods, name) or getattr(DIGITS.methods, name)
    changes: dict[str, Any] = {"optimiser": with_(block.optimiser, batch_size=BATCH), "milestones": []}
    if hasattr(block, "attack"):
        changes["attack"] = with_(block.attack, steps=2)
    if getattr(block, "hard_classes", None):
        changes["hard_classes"] = [1, 2]
    return with_(block, **changes)


def teacher(number: int) -> Classifier:
    torch.manual_seed(number)
    net = build(SPEC)
    net.get_parameter("backbone.linear.weight").data *= 5
    return net.eval()


def exactly(name: str) -> Run:
    """Two epochs of a method."""
    held = Held(task().validation.x.double(), task().validation.y)
    return _fitted(name, Task(**{**vars(task()), "validation": held, "selection": held}), Exact(), torch.float64)


def reduced() -> Run:
    """Two epochs of ABSLD whose networks compute in bfloat16, on any processor."""
    engine = Fast(task(), BATCH, reduces=lambda network: True, compiles=False, remembers=False, say=print)
    return _fitted("absld", task(), engine, torch.float32)


def _fitted(name: str, of: Task, engine: Engine, dtype: torch.dtype) -> Run:
    torch.manual_seed(1)
    student, block = build(SPEC).to(dtype), block_of(name)
    method = make(name, block)
    run = begin(method, student, block.optimiser, of, engine)
    nets = engine.networks(student, teacher(2).to(dtype), teacher(3).to(dtype))
    for _ in fit(run, method, block, of, nets, engine, epochs=EPOCHS):
        pass
    return run


def quickly(folder: Path, epochs: int = EPOCHS) -> Run:
    """ABSLD by the fast engine, which remembers the teacher; it goes on where the folder's checkpoint ends."""
    return train_network(
        SPEC, "absld", block_of("absld"), task(), Checkpoint(folder), lambda run: None,
        epochs=epochs, speed=Speed("fast", "float32", 1), teacher=frozen_view(teacher(2)),
    )  # fmt: skip


def written(run: Run) -> Found:
    return {
        "rows": [tuple(row) for row in run.rows],
        "state": dict(run.state),
        "weights": run.student.state_dict(),
        "best": (run.best_epoch, run.best_score),
        "report": dict(run.report),
    }


def all_of_it(folder: Path) -> Found:
    """Every method exactly; ABSLD in bfloat16, and quickly, at once and in two parts."""
    found = {name: written(exactly(name)) for name in METHODS}
    found["bfloat16"] = written(reduced())
    found["fast"] = written(quickly(folder / "whole"))
    quickly(folder / "parts", epochs=1)
    found["resumed"] = written(quickly(folder / "parts"))
    return found


def _member(rank: int, size: int, work: Callable[[Path], Found], folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=size)
    torch.save(work(folder), folder / f"{rank}.pt")
    dist.destroy_process_group()


def by(size: int, work: Callable[[Path], Found], folder: Path) -> list[Found]:
    """What each of `size` processes found."""
    folder.mkdir()
    mp.spawn(_member, (size, work, folder), nprocs=size)
    return [torch.load(folder / f"{rank}.pt") for rank in range(size)]
