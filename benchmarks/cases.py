"""Which pairs of networks are measured, on how many images."""

from dataclasses import dataclass

BATCH = {"cpu": 32, "cuda": 128}
"""Images a step, by type of device; the published scripts' 128 would take a CPU minutes."""
STEPS = {"cpu": 1, "cuda": 20}
"""Steps between two looks at the clock."""
SLICE = {"cpu": 4, "cuda": 50}
"""Steps of the slice that stands for an epoch."""


@dataclass(frozen=True)
class Scale:
    """How much work lies between two looks at the clock."""

    batch_size: int
    steps: int

    @property
    def images(self) -> int:
        """Images that are trained on."""
        return self.batch_size * self.steps


@dataclass(frozen=True)
class Case:
    """A student, its teacher and what is timed."""

    name: str
    profile: str
    """Of pipeline/profiles, named like its data set: the method's block and the augmentation are taken from it."""
    student: str
    teacher: str
    augmented: bool
    """Whether images are fetched and augmented for every step (epoch), or lie ready on the device (step)."""
    scales: dict[str, Scale]
    """By type of device: cpu or cuda."""
    slow: bool = False
    """Whether `make bench` leaves it to `make bench-slow`."""


def _pair(name: str, student: str, teacher: str, quick: bool = False) -> list[Case]:
    step = {device: Scale(BATCH[device], STEPS[device]) for device in BATCH}
    epoch = {device: Scale(BATCH[device], SLICE[device]) for device in BATCH}
    return [
        Case(f"{name}_step", "cifar10", student, teacher, False, step, slow=not quick),
        Case(f"{name}_epoch", "cifar10", student, teacher, True, epoch, slow=True),
    ]


def _digits() -> list[Case]:
    step, epoch = Scale(64, 10), Scale(64, 17)  # 17 full batches are an epoch but for its last, smaller batch
    return [
        Case("digits_step", "digits", "tiny_resnet8", "tiny_resnet16", False, {"cpu": step, "cuda": step}),
        Case("digits_epoch", "digits", "tiny_resnet8", "tiny_resnet16", True, {"cpu": epoch, "cuda": epoch}),
    ]


CASES = {
    case.name: case
    for case in [
        *_pair("resnet18", "resnet18", "resnet18", quick=True),
        *_digits(),
        *_pair("resnet18_from_wrn_34_10", "resnet18", "wrn_34_10"),
        *_pair("mobilenet_v2", "mobilenet_v2", "resnet18"),
        *_pair("mobilenet_v2_from_wrn_34_10", "mobilenet_v2", "wrn_34_10"),
    ]
}
"""By name. A name without `from` has a ResNet-18 as teacher; the digits have their own."""
