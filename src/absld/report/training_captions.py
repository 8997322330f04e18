"""What stands below the figures of what happened while training: on how many images, against which attack."""

from absld.records.numbers import number_text
from absld.report.inputs import ByMethod, first_of
from absld.report.wording import attack_settings, images, method_label


def trained_on(by_method: ByMethod) -> str:
    """The training images and each method's attack on them."""
    return " ".join([f"{_count(by_method, 'train')} training images.", *trained_against(by_method)])


def trained_against(by_method: ByMethod) -> list[str]:
    """The training attack of each method, said once where it is the same."""
    told: dict[str, list[str]] = {}
    for method, runs in by_method.items():
        attack = runs[0].state["settings"].get("attack")
        text = f"against {_walk(attack)}" if attack else "on clean images alone"
        told.setdefault(text, []).append(method_label(method))
    return [f"{_and(methods)} trained {text}." for text, methods in told.items()]


def validated_on(by_method: ByMethod) -> str:
    """The images that choose the best epoch, and the attack on them: the same for all methods."""
    state = first_of(by_method).state
    attack, split = state["train"]["validation"], state["select_on"]
    return f"PGD: {_walk(attack)}. {_count(by_method, split)} {split} images."


def _walk(attack: dict[str, float]) -> str:
    return f"{attack_settings(attack)}, L∞ eps {number_text(attack['eps'])}"


def _count(by_method: ByMethod, split: str) -> str:
    return images(sum(first_of(by_method).card["data"]["counts"][split].values()))


def _and(names: list[str]) -> str:
    return " and ".join([*filter(None, [", ".join(names[:-1])]), names[-1]])
