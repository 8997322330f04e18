"""What the numbers were taken on."""

import platform
from pathlib import Path

import torch

from absld.device import cores
from absld.versions import version
from absld.watch.git import commit_and_dirty

CPU_INFO = Path("/proc/cpuinfo")
PACKAGES = ("absld", "torch", "numpy", "pyautoattack")


def device_name(device: torch.device) -> str:
    """The model of the processor or GPU; never the name of the machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def described(device: torch.device, root: Path) -> dict[str, object]:
    """Device, versions and commit, for the history."""
    commit, dirty = commit_and_dirty(root)
    return {
        "device": device_name(device),
        "device_type": device.type,
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "commit": commit and commit[:10] + ("+" if dirty else ""),
    }
