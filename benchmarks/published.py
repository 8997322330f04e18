"""How the published ABSLD script spends its step: the yardstick (methods: Zhao, Wang, Wei, arXiv 2312.05508).

The same mathematics as absld.methods.absld with separate temperatures, written the way that scripts of its kind are:
images through Pillow one by one in two worker processes, float32, channels first, nothing folded, compiled or kept; one
network that is switched between its modes; temperatures and class risks sample by sample. The words are our own.
"""

from collections.abc import Iterator
from itertools import repeat

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from absld.params.distillation import Absld
from absld.params.train import Augmentation
from absld.shapes import Images, Labels, Logits, PerClass, Probs, Scalar
from benchmarks.clock import Clock
from benchmarks.problem import UNCHANGED, Problem

WORKERS = 2
NOISE = 0.001
"""Standard deviation of what the attack begins with."""
ENDLESS = 2**40
"""Images. A slice lies in the middle of a long epoch: the workers are at work already, and go on."""


class Published:
    """One training run."""

    def __init__(self, problem: Problem, clock: Clock) -> None:
        self.problem, self.clock = problem, clock
        self.student, self.teacher, self.block = problem.student, problem.teacher, problem.block
        self.tau_adv, self.tau_clean = (torch.ones(problem.classes, device=problem.x.device) for _ in range(2))
        self.risk_adv, self.risk_clean = (torch.zeros(problem.classes, device=problem.x.device) for _ in range(2))
        recipe = self.block.optimiser
        self.optimiser = torch.optim.SGD(
            self.student.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
        torch.backends.cudnn.deterministic = True  # as published
        self.batches = _ready(problem) if problem.augmentation == UNCHANGED else _fetched(problem)

    def train(self) -> None:
        """Take the problem's steps."""
        for _ in range(self.problem.steps):
            self.clock.enter("data")
            x, y = next(self.batches)
            self.step(x, y)

    def report(self) -> dict[str, float | str]:
        """How it works."""
        return {"precision": "float32"}

    def step(self, x: Images, y: Labels) -> Scalar:
        """One step on a batch; the loss before it."""
        self.clock.enter("teacher")
        with torch.no_grad():
            z = self.teacher(x)
        self.clock.enter("bookkeeping")
        p_adv, p_clean = softened(z, self.tau_adv, y), softened(z, self.tau_clean, y)
        self.clock.enter("attack")
        self.student.eval()
        x_adv = attacked(self.student, x, p_adv, self.block)
        self.student.train()
        self.clock.enter("training")
        z_adv, z_clean = self.student(x_adv), self.student(x)
        alpha = self.block.alpha
        loss = alpha * divergence(p_adv, z_adv) + (1 - alpha) * divergence(p_clean, z_clean)
        loss = self.block.kl_scale * loss / len(x)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.clock.enter("bookkeeping")
        add_risks(self.risk_adv, z_adv.detach(), y)
        add_risks(self.risk_clean, z_clean.detach(), y)
        return loss.detach()


def softened(z: Logits, tau: PerClass, y: Labels) -> Probs:
    """The teacher's soft labels: each sample's logits are divided by the temperature of its class, one by one."""
    divided = z.clone()
    for row in range(len(divided)):
        divided[row] /= tau[y[row]]
    return divided.softmax(1)


def add_risks(risk: PerClass, z: Logits, y: Labels) -> None:
    """Add the cross-entropy of each sample to the risk of its class, one by one."""
    losses = nn.functional.cross_entropy(z, y, reduction="none")
    for row in range(len(losses)):
        risk[y[row]] += losses[row]


def divergence(p: Probs, z: Logits) -> Scalar:
    """Σ KL(p ‖ softmax(z)) over the batch."""
    return (torch.xlogy(p, p) - p * z.log_softmax(1)).sum()


def attacked(student: nn.Module, x: Images, p: Probs, block: Absld) -> Images:
    """Adversarial examples: steps along the sign of the input gradient, back into the ball and the range of pixels."""
    walk = block.attack
    x_adv = x + NOISE * torch.randn(x.shape, device=x.device)
    for _ in range(walk.steps):
        x_adv.requires_grad_()
        (gradient,) = torch.autograd.grad(divergence(p, student(x_adv)), [x_adv])
        x_adv = x_adv.detach() + walk.step * gradient.sign()
        x_adv = torch.min(torch.max(x_adv, x - walk.eps), x + walk.eps).clamp(0, 1)
    return x_adv


class Pictures(Dataset[tuple[Tensor, int]]):
    """Training images, each augmented by itself when it is asked for."""

    def __init__(self, x: NDArray[np.uint8], y: NDArray[np.int64], augmentation: Augmentation) -> None:
        """`x` is (N, height, width, channels)."""
        self.x, self.y, self.augmentation = x, y, augmentation

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        padding, size = self.augmentation.crop_padding, self.x.shape[1]
        pixels = self.x[row]
        image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
        left, top = (int(torch.randint(2 * padding + 1, ())) for _ in range(2))
        image = ImageOps.expand(image, padding).crop((left, top, left + size, top + size))
        if self.augmentation.horizontal_flip and torch.rand(()) < 0.5:
            image = ImageOps.mirror(image)
        planes = np.array(image).reshape(pixels.shape).transpose(2, 0, 1)
        return torch.from_numpy(planes.copy()).float() / 255, int(self.y[row])


def _ready(problem: Problem) -> Iterator[tuple[Images, Labels]]:
    """One batch that lies on the device, again and again."""
    x, y = problem.x[: problem.batch_size].float() / 255, problem.y[: problem.batch_size]
    return repeat((x, y))


def _fetched(problem: Problem) -> Iterator[tuple[Images, Labels]]:
    """Batches that two workers prepare and that are then copied to the device."""
    device = problem.x.device
    x_by_row = np.ascontiguousarray(problem.x.cpu().numpy().transpose(0, 2, 3, 1))
    pictures = Pictures(x_by_row, problem.y.cpu().numpy(), problem.augmentation)
    loader = DataLoader(
        pictures,
        batch_size=problem.batch_size,
        sampler=RandomSampler(pictures, replacement=True, num_samples=ENDLESS),
        num_workers=WORKERS,
    )
    for x, y in loader:
        yield x.to(device), y.to(device)
