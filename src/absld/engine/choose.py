"""The engine that a run is executed with, and what is worth it there."""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from absld import distributed
from absld.data.task import Task
from absld.engine.compiled import Say
from absld.engine.fast import Fast
from absld.engine.memory import bytes_of
from absld.engine.plain import Plain
from absld.engine.precision import WORTH_COMPILING, forward_cost, gains, has_bfloat16
from absld.engine.protocol import Engine
from absld.networks.zoo import Classifier
from absld.params.recipe import AdversarialMethod, Method

FORWARD, WITH_INPUT_GRADIENT, WITH_ALL_GRADIENTS = 1, 2, 3
"""What a pass costs, in forward passes."""


@dataclass(frozen=True)
class Speed:
    """How a run is to be executed: the keys of the section `train` that say so."""

    engine: Literal["fast", "plain"] = "plain"
    precision: Literal["auto", "float32"] = "auto"
    teacher_memory: float | None = None
    """GiB; None: a teacher is asked every time."""

    def engine_of(self, task: Task, block: Method, student: Classifier, *, epochs: int, say: Say = print) -> Engine:
        """The engine of one run: `epochs` epochs of `task` with the method's settings `block`.

        `say` is told, in a line each, of what cannot be done.
        """
        if task.device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = False  # float32 means float32
        if self.engine == "plain":
            return Plain()
        bfloat16 = self.precision == "auto" and has_bfloat16(task.device)
        return Fast(
            task,
            block.optimiser.batch_size,
            reduces=lambda network: bfloat16 and gains(network, task.device),
            compiles=cost(student, task, block, epochs) >= WORTH_COMPILING[task.device.type],
            remembers=self._remembers(task, block, say),
            say=say,
        )

    def _remembers(self, task: Task, block: Method, say: Say) -> bool:
        if self.teacher_memory is None or not block.needs:
            return False
        wanted, free = bytes_of(task) / 2**30, least_free(task.device) / 2**30
        if wanted > self.teacher_memory:
            why = f"train.teacher_memory is less than {wanted:.2g} GiB"
        elif wanted > free / 2:
            why = f"they take {wanted:.2g} GiB, more than half of the {free:.2g} GiB that are free on the GPU"
        else:
            return True
        say(f"the teacher's logits are not remembered: {why}")
        return False


PLAINLY = Speed()


def least_free(device: torch.device) -> float:
    """Bytes that are free on the GPU of any process, of which training needs some too; on a CPU nobody counts."""
    if device.type != "cuda":
        return math.inf
    free, _ = torch.cuda.mem_get_info(device)
    return -float(distributed.highest(torch.tensor(-float(free), dtype=torch.float64, device=device)))


def cost(student: Classifier, task: Task, block: Method, epochs: int) -> float:
    """About how many floating-point operations the student's passes take in a whole run."""
    attacked = block.attack.steps if isinstance(block, AdversarialMethod) else 0
    passes = WITH_INPUT_GRADIENT * attacked + 2 * WITH_ALL_GRADIENTS
    return float(forward_cost(student)) * passes * len(task.x) * epochs
