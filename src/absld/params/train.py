"""What is common to the training of all methods."""

from typing import Annotated, Literal

from pydantic import Field

from absld.params.attacks import Walk
from absld.params.base import Count, Positive, Section

Device = Literal["auto", "cpu", "cuda"]
Padding = Literal["zeros", "reflect"]


class Augmentation(Section):
    """What each training image meets anew in every epoch."""

    crop_padding: Annotated[int, Field(ge=0, le=64)]
    """Pixels around the image, of which a random crop of the old size is taken; 0: no crop."""
    padding: Padding
    """What these pixels are: zeros, or the image mirrored at its edge."""
    horizontal_flip: bool
    """Mirror each image with probability 1/2: not for digits."""


class Train(Section):
    """The training loop."""

    device: Device
    """auto: the first GPU, else the CPU."""
    engine: Literal["fast", "plain"]
    """fast: the same mathematics to rounding, in less time (docs/performance.md); plain: to check it against."""
    precision: Literal["auto", "float32"]
    """auto: the fast engine computes in bfloat16 where the hardware has it and the network is large enough to gain."""
    processes: Literal["auto"] | Count
    """That train one network together, each with its share of every batch; auto: one for each GPU, one on a CPU."""
    teacher_memory: Positive | None
    """GiB that the teacher's logits of images it has seen may take, on the device; null: it is asked every time,
    and so it is by the plain engine."""
    max_epochs: Count | None
    """Cut every method short, for a try; null: as long as its block says."""
    augmentation: Augmentation
    select_on: Literal["validation", "test"]
    """Which images choose the best epoch. test repeats the papers and is recorded: its numbers are too good."""
    validation: Walk
    """The attack after every epoch whose average + worst class accuracy chooses the best one."""
