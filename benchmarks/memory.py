"""How much memory a process has taken at most."""

from pathlib import Path

import torch

STATUS = Path("/proc/self/status")


def peak_of_this_process(device: torch.device) -> int | None:
    """Bytes: on a GPU what torch has reserved there, else what was resident at once; None where nobody counts."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    if not STATUS.exists():
        return None
    fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    kibibytes, _ = fields["VmHWM"].split()
    return int(kibibytes) * 1024
