"""What every contestant is given: the same images, the same weights, the same settings."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from absld.networks.zoo import Classifier, Spec, build
from absld.params.data import FACTS, Digits
from absld.params.distillation import Absld
from absld.params.load import load
from absld.params.train import Augmentation
from absld.shapes import Images, Labels
from benchmarks.cases import Case

PROFILES = Path(__file__).parents[1] / "pipeline/profiles"
SEED = 0
SETTLED_ON = 16
"""Images whose statistics the BatchNorm layers begin with."""
WHOLE = {"digits": 1137, "cifar10": 49_000}
"""Training images of a profile, without its validation split: how much work a whole run is."""
UNCHANGED = Augmentation(crop_padding=0, padding="zeros", horizontal_flip=False)


@dataclass(frozen=True)
class Problem:
    """Some steps of training with ABSLD."""

    block: Absld
    """With the batch size that is measured."""
    epochs: int
    """Epochs of so few images that make as many steps as a whole run: an engine may prepare for that much work."""
    augmentation: Augmentation
    x: Tensor
    """Training images, uint8, (N, channels, height, width), on the device; N is a multiple of the batch size."""
    y: Labels
    classes: int
    student: Classifier
    """In training mode. A contestant may train it: no other one has it."""
    teacher: Classifier
    """In evaluation mode, without parameter gradients."""

    @property
    def batch_size(self) -> int:
        """Images a step."""
        return self.block.optimiser.batch_size

    @property
    def steps(self) -> int:
        """How many batches the images make."""
        return len(self.x) // self.batch_size


def settings_of(case: Case) -> tuple[Absld, Augmentation]:
    """ABSLD's block and what an image meets, as the case's profile has them."""
    params = load(PROFILES / f"{case.profile}.yaml")
    assert params.methods.absld is not None, f"the profile {case.profile} has no block of ABSLD"
    return params.methods.absld, params.train.augmentation


def spec_of(case: Case, architecture: str) -> Spec:
    """The network for the images of the case's profile; like the published scripts it normalises nothing."""
    facts = FACTS[case.profile]
    return Spec(architecture, facts.classes, facts.channels, facts.size, None)


def posed(case: Case, device: torch.device) -> Problem:
    """The problem of a case: the same in every process."""
    (block, augmentation), scale = settings_of(case), case.scales[device.type]
    optimiser = block.optimiser.model_copy(update={"batch_size": scale.batch_size})
    torch.manual_seed(SEED)
    x, y = images(case.profile, scale.images)
    student, teacher = (
        settled(build(spec_of(case, architecture)), x[:SETTLED_ON].float() / 255).to(device)
        for architecture in (case.student, case.teacher)
    )
    return Problem(
        block.model_copy(update={"optimiser": optimiser}),
        -(-block.epochs * WHOLE[case.profile] // scale.images),
        augmentation if case.augmented else UNCHANGED,
        x.to(device),
        y.to(device),
        FACTS[case.profile].classes,
        student.train(),
        teacher.eval().requires_grad_(False),
    )


def images(source: str, count: int) -> tuple[Tensor, Labels]:
    """The digits themselves; of all others random pixels, for which arithmetic takes as long."""
    if source == "digits":
        return _digits(count)
    facts = FACTS[source]
    x = torch.randint(256, (count, facts.channels, facts.size, facts.size), dtype=torch.uint8)
    return x, torch.arange(count) % facts.classes


@torch.no_grad()
def settled(network: Classifier, x: Images) -> Classifier:
    """The network, with the statistics of `x` in its BatchNorm layers: deep networks overflow without any."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain average over all forwards, and there is one
    network.train()(x)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    return network


def _digits(count: int) -> tuple[Tensor, Labels]:
    from absld.data.sources import open_source

    part = open_source(
        Digits(source="digits", validation_per_class=1, train_per_class=None, split_seed=0), PROFILES, PROFILES
    ).train
    x = torch.empty(count, 8, 8, 1, dtype=torch.uint8)
    rows = torch.randperm(len(part.y))[:count].numpy()
    part.x.read_into(x.numpy(), rows)
    return x.permute(0, 3, 1, 2).contiguous(), torch.from_numpy(part.y[rows])
