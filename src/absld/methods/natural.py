"""Natural training: no attack, no teacher.

min_θ  CE(s(x), y)                                     s = softmax of the student
"""

from absld.divergences import cross_entropy
from absld.methods.protocol import Batch, Networks, State, Stateless, Step, risks
from absld.params import adversarial as settings


class Natural(Stateless):
    """Fit the clean images: accurate, and not robust."""

    def __init__(self, block: settings.Natural) -> None:
        del block

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        """Train-mode forwards: clean."""
        del state
        x, y = batch
        z = nets.student(x)
        return Step(cross_entropy(z, y).mean(), risks(y, clean=z))
