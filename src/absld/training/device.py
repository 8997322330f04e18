"""Where tensors live."""

import torch

from absld.errors import InputError


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
