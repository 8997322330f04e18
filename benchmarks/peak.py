"""What the device can do at most: a large matrix product, in float32 and in bfloat16."""

import time

import torch

SIDE = {"cpu": 2048, "cuda": 8192}
"""Rows and columns of the matrices, by type of device."""
PRODUCTS = {"cpu": 2, "cuda": 20}
"""Products between two looks at the clock."""


class MatrixProduct:
    """Random matrices of one precision; zeros would be faster on some GPUs. float32 means float32: no TF32."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.device, self.side, self.products = device, SIDE[device.type], PRODUCTS[device.type]
        self.a, self.b = (torch.randn(self.side, self.side, device=device).to(dtype) for _ in range(2))

    def __call__(self) -> float:
        """Seconds of some products."""
        self._wait()
        start = time.perf_counter()
        for _ in range(self.products):
            self.a @ self.b
        self._wait()
        return time.perf_counter() - start

    @property
    def flops(self) -> int:
        """Floating-point operations of one call."""
        return 2 * self.side**3 * self.products

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
