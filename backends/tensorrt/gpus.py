"""What GPUs can do at most, by compute capability: the numbers behind `roofline`.

One GPU stands for each compute capability, one that data centres or desktops use for inference.
Dense rates (half of what NVIDIA's data sheets give "with sparsity") at boost clock. A compute
capability that is not here has no model: its members differ too much, or there is no such table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qcompiler.errors import ConfigurationError


@dataclass(frozen=True)
class Gpu:
    """Peak rates of one GPU; 0 is a type that its tensor cores do not have.

    Attributes:
        name: Product.
        fp32: 1e12 operations per second of the vector units.
        tf32: The same of tensor cores on float32 operands rounded to TF32.
        fp16: On fp16 or bf16 operands, accumulated in fp32.
        int8: On int8 operands.
        fp8: On float8 operands.
        bandwidth: Memory, in 1e9 bytes per second.
        source: Where NVIDIA says so.
    """

    name: str
    fp32: float
    tf32: float
    fp16: float
    int8: float
    fp8: float
    bandwidth: float
    source: str

    def __post_init__(self) -> None:
        rates = (self.fp32, self.fp16, self.int8, self.bandwidth)
        if not all(rate > 0 for rate in rates) or self.tf32 < 0 or self.fp8 < 0:
            raise ConfigurationError(
                f"rates of {self.name} must be positive",
                fix="give operations and bytes for each second",
            )


GPUS: Mapping[int, Gpu] = {
    75: Gpu("T4", 8.1, 0, 65, 130, 0, 320, "NVIDIA T4 Tensor Core GPU data sheet"),
    80: Gpu(
        "A100 40GB", 19.5, 156, 312, 624, 0, 1555,
        "NVIDIA A100 Tensor Core GPU Architecture (white paper), tables 1 and 4",
    ),
    86: Gpu("A10", 31.2, 62.5, 125, 250, 0, 600, "NVIDIA A10 Tensor Core GPU data sheet"),
    89: Gpu("L4", 30.3, 60, 121, 242.5, 242.5, 300, "NVIDIA L4 Tensor Core GPU data sheet"),
    90: Gpu(
        "H100 SXM", 67, 494.5, 989.5, 1979, 1979, 3350, "NVIDIA H100 Tensor Core GPU data sheet"
    ),
    120: Gpu(
        "GeForce RTX 5090", 104.8, 104.8, 209.5, 838, 419, 1792,
        "NVIDIA RTX Blackwell GPU Architecture (white paper), appendix A",
    ),
}  # fmt: skip
"""GPU by compute capability (SM number)."""
