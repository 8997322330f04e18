"""The fast engine: the same mathematics as the plain one, to rounding.

The student is attacked, and the teachers asked, with their BatchNorms folded away, channels last, in bfloat16 where the
hardware has it; a teacher that was asked about an image's variant once is not asked again; SGD is one fused operation.
Long runs compile all of it; on a GPU the attacked student and the teachers become CUDA graphs. Losses, class sums,
weights and statistics stay in float32.
"""

from collections.abc import Callable, Iterator, Mapping

import torch

from absld import distributed
from absld.data.augmentation import plan
from absld.data.task import Task
from absld.engine.compiled import Compiler, FixedShape, FullBatches, Say
from absld.engine.memory import Memory
from absld.engine.mixed import Mixed
from absld.engine.plain import sgd
from absld.methods.protocol import Batch, Networks
from absld.networks.folded import Folded
from absld.networks.frozen import frozen_view
from absld.networks.synchronised import synchronised
from absld.networks.zoo import Classifier
from absld.params.recipe import Optimiser
from absld.shapes import Images, Logits


class Fast:
    """See absld.engine.protocol."""

    def __init__(
        self,
        task: Task,
        batch_size: int,
        *,
        reduces: Callable[[Classifier], bool],
        compiles: bool,
        remembers: bool,
        say: Say,
    ) -> None:
        """Prepare for a run.

        Args:
            task: what is trained on.
            batch_size: images in a batch, of which each process has its share.
            reduces: whether a network computes in bfloat16.
            compiles: whether networks are compiled.
            remembers: whether the teachers' logits are kept.
            say: is told, in a line each, of what could not be done.

        """
        self.task, self.batch_size, self.say = task, distributed.largest(batch_size), say
        self.reduces, self.remembers = reduces, remembers
        self.compiler = Compiler(task.device, say) if compiles else None
        self.views: list[Attacked] = []
        self.memories: list[Memory] = []
        self.precisions: dict[str, str] = {}
        """Of the student, and of the teachers if there are any: what `report` says."""

    def networks(self, student: Classifier, teacher: Classifier | None, clean_teacher: Classifier | None) -> Networks:
        """Views of the networks. The student's tensors are laid out anew, in place."""
        student.to(memory_format=torch.channels_last)
        self.precisions["precision"] = self._precision(student)
        if teacher is not None:
            self.precisions["teacher_precision"] = self._precision(teacher)
        network = synchronised(Mixed(student) if self.reduces(student) else student)
        compiler = self.compiler if distributed.world() == 1 else None
        if self.compiler is not compiler:
            self.say("the training passes are not compiled, so slower: several processes share their BatchNorms")
        trained = FullBatches(network, self.batch_size, compiler)
        return Networks(trained, self.attacked(student), self._asked(teacher), self._asked(clean_teacher))

    def attacked(self, network: Classifier) -> "Attacked":
        """The network in evaluation mode, folded; it follows the network at each `refresh`."""
        self.views.append(Attacked(self._folded(network), self.batch_size, self.compiler))
        return self.views[-1]

    def optimiser(self, student: Classifier, recipe: Optimiser) -> torch.optim.SGD:
        """SGD, all tensors at once."""
        return sgd(student, recipe, fused=True)

    def batches(self, task: Task, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """One epoch."""
        epoch = plan(len(task.x), task.augmentation, generator, task.device)
        for memory in self.memories:
            memory.begin(epoch)
        for batch in epoch.batches(batch_size):
            x = batch.images(task.x, task.augmentation)
            for memory in self.memories:
                memory.show(batch, x)
            yield Batch(x, task.y[batch.rows])

    def refresh(self) -> None:
        """Fold anew before the next pass; a CUDA graph's last outputs are no longer needed."""
        if self.compiler is not None and self.compiler.graphs:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        for view in self.views:
            view.stale = True

    def report(self) -> Mapping[str, float | str]:
        """How it was executed, and what the teachers' memories have saved."""
        found: dict[str, float | str] = {"engine": "fast", **self.precisions}
        if self.compiler is not None:
            found["seconds_compiling"] = round(self.compiler.seconds, 1)
        asked, remembered = (sum(getattr(m, name) for m in self.memories) for name in ("asked", "remembered"))
        if asked:
            found["teacher_hit_rate"] = round(remembered / (asked + remembered), 4)
            found["teacher_seconds_saved"] = round(sum(memory.saved for memory in self.memories), 1)
        return found

    def _asked(self, teacher: Classifier | None) -> Callable[[Images], Logits] | None:
        """A teacher as a step meets it."""
        if teacher is None:
            return None
        # row by row: what a memory knows was asked in other batches, and after a resumption in others again
        ask = FixedShape(self._folded(teacher).row_by_row().graph, self.batch_size, self.compiler)
        if not self.remembers:
            return ask
        self.memories.append(Memory(ask, self.task, self.batch_size))
        return self.memories[-1]

    def _folded(self, network: Classifier) -> Folded:
        return Folded(frozen_view(network), torch.bfloat16 if self.reduces(network) else None)

    def _precision(self, network: Classifier) -> str:
        return "bfloat16" if self.reduces(network) else "float32"


class Attacked(FixedShape):
    """A student as it is attacked: folded anew when it is first asked after its weights have moved."""

    def __init__(self, folded: Folded, rows: int, compiler: Compiler | None) -> None:
        super().__init__(folded.graph, rows, compiler)
        self.folded, self.stale = folded, False

    def __call__(self, x: Images) -> Logits:
        """The logits."""
        if self.stale:
            self.folded.refresh()
            self.stale = False
        return super().__call__(x)
