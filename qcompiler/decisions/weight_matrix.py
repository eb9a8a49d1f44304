"""`WeightMatrix`: a weight as the matrix of a product, and what its inputs have to be observed by.

Passes that choose integers by the error of the output see every weight as [groups, K, N]: N outputs
of a group, each a sum over K inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.requests import Request
from qcompiler.ir.walk import is_op, rank

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class WeightMatrix:
    """How the weight of one node becomes [groups, K, N], and back.

    Attributes:
        shape: Of the weight.
        axes: The weight, split by `split`, with its axes in this order is [groups, K..., N...].
        split: The weight's shape with the groups on an axis of their own.
        inputs: K.
    """

    shape: tuple[int, ...]
    split: tuple[int, ...]
    axes: tuple[int, ...]
    inputs: int

    @property
    def groups(self) -> int:
        return self.split[self.axes[0]]

    def matrix(self, weight: Array) -> Array:
        """[groups, K, N] of an array of the weight's shape."""
        turned = weight.reshape(self.split).transpose(self.axes)
        return turned.reshape(self.groups, self.inputs, -1)

    def weight(self, matrix: Array) -> Array:
        """What `matrix` was made of."""
        turned = matrix.reshape([self.split[axis] for axis in self.axes])
        return np.ascontiguousarray(turned.transpose(np.argsort(self.axes)).reshape(self.shape))


def weight_matrix(node: ir.Node, shape: Sequence[int]) -> WeightMatrix | None:
    """The matrix of a weight of `node`; None where an output has no fixed set of inputs.

    That is so for recurrent layers, batched weights and ConvTranspose with kernels that overlap.
    """
    dims = tuple(shape)
    if is_op(node, "Conv") and len(dims) >= 3:
        groups = node.attributes.get_int("group", 1)
        split = (groups, dims[0] // groups, *dims[1:])
        axes = (0, *range(2, len(split)), 1)
        return WeightMatrix(dims, split, axes, int(np.prod(dims[1:])))
    if is_op(node, "ConvTranspose") and len(dims) >= 3 and _apart(node, dims[2:]):
        groups = node.attributes.get_int("group", 1)
        split = (groups, dims[0] // groups, *dims[1:])
        return WeightMatrix(dims, split, tuple(range(len(split))), dims[0] // groups)
    if is_op(node, "MatMul", "Gemm") and len(dims) == 2:
        turned = is_op(node, "Gemm") and node.attributes.get_int("transB", 0) == 1
        axes = (0, 2, 1) if turned else (0, 1, 2)
        return WeightMatrix(dims, (1, *dims), axes, dims[1 if turned else 0])
    return None


def _apart(node: ir.Node, kernel: Sequence[int]) -> bool:
    """Whether every output of a ConvTranspose is a sum over one input position."""
    ones = [1] * len(kernel)
    strides = node.attributes.get_ints("strides", ones)
    dilations = node.attributes.get_ints("dilations", ones)
    return all(
        (size - 1) * apart < step
        for size, apart, step in zip(kernel, dilations, strides, strict=True)
    )


def moments_request(node: ir.Node, shape: Sequence[int], positions: int) -> Request | None:
    """What observes the second moments [groups, K, K] (or [K, K]) of a matrix's inputs.

    Args:
        node: A node that has a `weight_matrix`.
        shape: Of its weight.
        positions: Most positions taken of each sample.
    """
    value = node.inputs[0]
    if value is None or not value.name or weight_matrix(node, shape) is None:
        return None
    if is_op(node, "Conv"):
        return _of_patches(node, value.name, shape, positions)
    if is_op(node, "ConvTranspose"):
        if node.attributes.get_int("group", 1) == 1:
            return Request.of(value.name, "gram", axis=1, positions=positions)
        ones = "x".join("1" for _ in shape[2:])
        groups = node.attributes.get_int("group", 1)
        return Request.of(value.name, "patch-gram", kernel=ones, groups=groups, positions=positions)
    turned = is_op(node, "Gemm") and node.attributes.get_int("transA", 0) == 1
    dims = rank(value)
    if dims is None or dims < 2:
        return None
    return Request.of(value.name, "gram", axis=0 if turned else -1, positions=positions)


def _of_patches(node: ir.Node, value: str, shape: Sequence[int], positions: int) -> Request | None:
    given = node.attributes
    pads = given.get_ints("pads", [])
    if any(each < 0 for each in pads):
        return None
    return Request.of(
        value,
        "patch-gram",
        kernel=_text(shape[2:]),
        strides=_text(given.get_ints("strides", [])),
        dilations=_text(given.get_ints("dilations", [])),
        pads=_text(pads),
        auto_pad=given.get_string("auto_pad", "NOTSET"),
        groups=given.get_int("group", 1),
        positions=positions,
    )


def _text(sizes: Sequence[int]) -> str:
    return "x".join(str(each) for each in sizes)
