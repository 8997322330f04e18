"""What the device reaches at most: large matrix products of several sizes, and a large convolution."""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

SIDES = {"cpu": (2048, 1024, 4096), "cuda": (8192, 4096, 16384)}
"""Rows and columns of the matrices, by type of device. Precisions are compared by the first."""
CONVOLVED = {"cpu": (32, 128, 32), "cuda": (128, 256, 32)}
"""Images, channels before and after, height and width of a convolution of 3x3, by type of device."""
WORK = {"cpu": 3.4e10, "cuda": 2.2e13}
"""Floating-point operations between two looks at the clock, about; more where a single operation has more."""


class Repeated:
    """An operation, done some times in a row."""

    def __init__(self, operation: Callable[[], Tensor], flops: int, device: torch.device) -> None:
        """`flops`: floating-point operations of one time."""
        self.operation, self.device = operation, device
        self.times = max(1, round(WORK[device.type] / flops))
        self.flops = flops * self.times

    def __call__(self) -> float:
        """Seconds of all times together."""
        self._wait()
        start = time.perf_counter()
        for _ in range(self.times):
            self.operation()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class Peak:
    """The best of some operations in one precision. float32 means float32: no TF32."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.operations = [matrix_product(side, dtype, device) for side in SIDES[device.type]]
        self.operations.append(convolution(*CONVOLVED[device.type], dtype, device))
        self.reached = 0.0
        """Floating-point operations a second, so far."""

    def __call__(self) -> float:
        """Do all of them. Seconds of the first matrix product."""
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
            seconds = [operation() for operation in self.operations]
        rates = (operation.flops / took for operation, took in zip(self.operations, seconds, strict=True))
        self.reached = max(self.reached, *rates)
        return seconds[0]


def matrix_product(side: int, dtype: torch.dtype, device: torch.device) -> Repeated:
    """Of random matrices: zeros would be faster on some GPUs."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return Repeated(lambda: a @ b, 2 * side**3, device)


def convolution(images: int, channels: int, side: int, dtype: torch.dtype, device: torch.device) -> Repeated:
    """As in a wide network, of random images, channels last."""
    x = torch.randn(images, channels, side, side, device=device).to(dtype, memory_format=torch.channels_last)
    w = torch.randn(channels, channels, 3, 3, device=device).to(dtype, memory_format=torch.channels_last)
    return Repeated(lambda: F.conv2d(x, w, padding=1), 2 * images * side**2 * 9 * channels**2, device)
