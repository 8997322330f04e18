"""Networks, a batch and the pieces of the distillation methods' equations, written slowly, with the settings of the profiles.

The attack's constants, the scales and the orders stand here as the papers and their code have them: a profile that
departs from them fails too. Everything is in double precision, so that equal means equal.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from absld.methods.protocol import Batch, Evidence, Networks, Step
from absld.methods.registry import make
from absld.networks.frozen import frozen_view
from absld.networks.zoo import Spec, build
from absld.params.load import load

PROFILES = {
    classes: load(Path(__file__).parents[1] / f"pipeline/profiles/cifar{classes}.yaml").methods for classes in (10, 100)
}


def block_of(name: str, classes: int = 10, **changes: Any) -> Any:
    return getattr(PROFILES[classes], name).model_copy(update=changes)


def network(seed: int, classes: int) -> nn.Module:
    """With statistics of its own, so that evaluation mode differs from training mode, and with an opinion."""
    torch.manual_seed(seed)
    net = build(Spec("tiny_resnet16", classes, 1, 8, None)).double().train()
    net.backbone.linear.weight.data *= 8
    for batchnorm in (module for module in net.modules() if isinstance(module, nn.BatchNorm2d)):
        batchnorm.momentum = 0.8
    for _ in range(2):
        net(torch.rand(20, 1, 8, 8).double())
    return net


def batch(classes: int, seed: int = 5) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (6,), generator=generator)
    return Batch(torch.rand(6, 1, 8, 8, generator=generator).double(), y)


def state_of(name: str, classes: int, block: Any = None) -> dict[str, Tensor]:
    state = make(name, block or block_of(name, classes)).init(classes)
    return {key: value.double() for key, value in state.items()}


def evidence(classes: int, epoch: int = 1, decay: float = 1.0, **means: Tensor) -> Evidence:
    """An epoch of two images a class."""
    count = torch.full((classes,), 2)
    return Evidence(epoch, decay, count, {name: 2 * mean for name, mean in means.items()}, {})


# --- the equations, written slowly -----------------------------------------------------------------------------------


class Outcome(NamedTuple):
    loss: Tensor
    z_adv: Tensor
    z_clean: Tensor


Oracle = Callable[[nn.Module, nn.Module, Batch], Outcome]


def softmax(z: Tensor) -> Tensor:
    return z.exp() / z.exp().sum(1, keepdim=True)


def elements(p: Tensor, z: Tensor) -> Tensor:
    """The terms p_j (log p_j − log s_j) of KL(p ‖ softmax(z)): images x classes, to be averaged either way."""
    return p * (p.log() - softmax(z).log())


def cross_entropies(z: Tensor, y: Tensor) -> Tensor:
    return torch.stack([-softmax(z).log()[i, label] for i, label in enumerate(y.tolist())])


def pgd(x: Tensor, climbed: Callable[[Tensor], Tensor], start: str) -> Tensor:
    """Ten steps of 2/255 in the ball of 8/255; starts: 0.001 times a normal draw, or anywhere in the ball."""
    noise = 0.001 * torch.randn_like(x) if start == "normal" else 8 / 255 * (2 * torch.rand_like(x) - 1)
    x_adv = x + noise
    for _ in range(10):
        x_adv.requires_grad_()
        (gradient,) = torch.autograd.grad(climbed(x_adv), x_adv)
        x_adv = x_adv.detach() + 2 / 255 * gradient.sign()
        x_adv = torch.min(torch.max(x_adv, x - 8 / 255), x + 8 / 255).clamp(0, 1)
    return x_adv.detach()


def label_attack(student: nn.Module, batch: Batch, start: str) -> Tensor:
    return pgd(batch.x, lambda x_adv: cross_entropies(student(x_adv), batch.y).sum(), start)


def soft_attack(student: nn.Module, batch: Batch, p: Tensor) -> Tensor:
    """In evaluation mode; training mode is back afterwards."""
    student.eval()
    x_adv = pgd(batch.x, lambda x_adv: elements(p, student(x_adv)).sum(), "normal")
    student.train()
    return x_adv


def compare(
    name: str,
    classes: int,
    oracle: Oracle,
    *,
    block: Any = None,
    state: dict[str, Tensor] | None = None,
    clean_teacher: nn.Module | None = None,
) -> Step:
    """One step of the method and one of the oracle from the same start.

    Loss, gradients, risks and BatchNorm statistics agree, and no teacher has changed.
    """
    student, reference, teacher = network(1, classes), network(1, classes), network(2, classes).eval()
    (x, y), block = batch(classes), block or block_of(name, classes)
    teachers = [teacher] if clean_teacher is None else [teacher, clean_teacher]
    before = [{key: value.clone() for key, value in net.state_dict().items()} for net in teachers]
    nets = Networks(student, frozen_view(student), *(frozen_view(net) for net in teachers))
    torch.manual_seed(9)
    step = make(name, block).step(nets, Batch(x, y), state_of(name, classes, block) if state is None else state)
    torch.manual_seed(9)
    outcome = oracle(reference, teacher, Batch(x, y))
    assert_close(step.loss, outcome.loss)
    assert_close(
        torch.autograd.grad(step.loss, list(student.parameters())),
        torch.autograd.grad(outcome.loss, list(reference.parameters())),
    )
    assert_close(student.state_dict(), reference.state_dict())
    assert_close(step.seen["risk_adv"], cross_entropies(outcome.z_adv, y).detach())
    assert_close(step.seen["risk_clean"], cross_entropies(outcome.z_clean, y).detach())
    assert all(not values.requires_grad and len(values) == len(y) for values in step.seen.values())
    for net, weights in zip(teachers, before, strict=True):
        assert all(torch.equal(weights[key], value) for key, value in net.state_dict().items())
        assert all(parameter.grad is None for parameter in net.parameters())
    return step
