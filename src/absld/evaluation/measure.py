"""The short measurement: clean images and one walk. For a teacher's card, and wherever a number is wanted soon."""

from torch import nn

from absld.attacks.gradient import pgd
from absld.attacks.linf_walk import LinfWalk
from absld.data.dataset import Split
from absld.evaluation.forward import Forward, float32
from absld.evaluation.plan import clean, walked
from absld.evaluation.refusals import refuse_training_mode
from absld.evaluation.selection import balanced
from absld.evaluation.telling import OnProgress, Telling, silent
from absld.evaluation.verdicts import Bench
from absld.statistics.metrics import ClassTable


def measure(
    network: nn.Module,
    split: Split,
    classes: int,
    walk: LinfWalk,
    *,
    seed: int,
    chunk: int,
    n: int | None = None,
    on_progress: OnProgress = silent,
) -> dict[str, ClassTable]:
    """Accuracy by class: ``clean``, and ``pgd`` after `walk` on the cross-entropy.

    Args:
        network: Logits from images in [0, 1]; in evaluation mode, on the device that is to be used.
        split: The images.
        classes: How many classes there are.
        walk: The attack.
        seed: Of the walk's start.
        chunk: Images that are attacked together.
        n: Only so many images, the first of each class in turn; None: all.
        on_progress: Is told what is going on.

    Raises:
        EvaluationRefusedError: the numbers would not mean what they say (absld.evaluation.refusals).

    """
    refuse_training_mode(network)
    telling = Telling(on_progress)
    net = Forward(network, telling.work)
    rows = balanced(split.y, n)
    bench = Bench(net, split, classes, seed, chunk, keep=0, telling=telling, scratch=None)
    with float32():
        found = bench.verdicts([clean(rows), walked("pgd", pgd(walk), net, rows, keep=rows[:0])])
    return {key: verdict.table(classes) for key, verdict in found.items()}
