"""Where tensors live, and how many threads work on them."""

import os
from typing import Literal

import torch

from absld.errors import InputError

SMALL_IMAGE = 16
"""Height and width, in pixels, up to which one thread is faster than two (docs/lab-book.md)."""


def pick(device: str) -> torch.device:
    """The device that params.yaml names: auto is the first GPU, else the CPU.

    Raises:
        InputError: cuda was asked for and there is none.

    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise InputError(
            "train.device: cuda: this machine has no CUDA device that torch can use; "
            "set train.device to auto or cpu, or see `absld doctor`"
        )
    return torch.device("cuda" if available and device != "cpu" else "cpu")


def processes_of(wanted: "int | Literal['auto']", device: torch.device) -> int:
    """How many processes train together: `auto` is one for each GPU, and one on a CPU.

    Raises:
        InputError: there are fewer GPUs.

    """
    gpus = torch.cuda.device_count() if device.type == "cuda" else None
    if wanted == "auto":
        return gpus or 1
    if gpus is not None and wanted > gpus:
        raise InputError(f"train.processes: {wanted}: each takes a GPU, and torch finds {gpus}; set it to auto")
    return wanted


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(size: int) -> None:
    """Work on small images with one thread: handing parts of them to a second costs more than it saves.

    Their results then depend neither on the number of cores nor on what else the machine does.
    """
    if size <= SMALL_IMAGE:
        torch.set_num_threads(1)
