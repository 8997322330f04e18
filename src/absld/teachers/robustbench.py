"""The paper's two teachers as RobustBench names them: addresses, architecture, licence, published accuracy.

Only facts stand here, from RobustBench's model zoo and DeepMind's page of released models; nothing of RobustBench is
needed to fetch them. Any other id goes through the package (`absld.teachers.robustbench_package`).
"""

from typing import NamedTuple

from absld.params.networks import Architecture

INSTALL = '.venv/bin/uv pip install -e ".[robustbench]"'
"""What any other id needs."""


class Published(NamedTuple):
    """What RobustBench's leaderboard reports; accuracies are fractions of the 10,000 test images."""

    clean: float
    autoattack: float
    eps: float
    """Radius of AutoAttack's L∞ ball, on pixels in [0, 1]."""


class Entry(NamedTuple):
    """One published model."""

    paper: str
    dataset: str
    architecture: Architecture
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None
    urls: tuple[str, ...]
    sha256: str | None
    """None: nobody publishes it. The file is then trusted on first use, once it fitted the architecture exactly."""
    licence: str
    published: Published


def _google_drive(file_id: str) -> tuple[str, ...]:
    return (
        f"https://drive.usercontent.google.com/download?id={file_id}&export=download&confirm=t",
        f"https://drive.google.com/uc?export=download&id={file_id}",
    )


KNOWN = {
    "Zhang2019Theoretically": Entry(
        paper="Zhang et al. 2019, Theoretically Principled Trade-off between Robustness and Accuracy (TRADES)",
        dataset="cifar10",
        architecture="wrn_34_10",
        normalisation=None,
        urls=_google_drive("1hPz9QQwyM7QSuWu-ANG_uXR-29xtL8t_"),
        sha256=None,
        licence="MIT (RobustBench's model zoo)",
        published=Published(clean=0.8492, autoattack=0.5308, eps=0.031),
    ),
    "Gowal2020Uncovering": Entry(
        paper="Gowal et al. 2020, Uncovering the Limits of Adversarial Training, without extra data",
        dataset="cifar100",
        architecture="dm_wrn_70_16",
        normalisation=((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
        urls=("https://storage.googleapis.com/dm-adversarial-robustness/cifar100_linf_wrn70-16_without.pt",),
        # from a third party's records, not verified by us: the file could not be fetched where this was written
        sha256="3114df6b9d5adf9f275e8fea5a91b71c61df78a568ad31544b6950807d595c8c",
        licence="Apache-2.0 (Google)",
        published=Published(clean=0.6086, autoattack=0.3003, eps=8 / 255),
    ),
}
"""RobustBench's id to the model, for the L∞ threat model."""
