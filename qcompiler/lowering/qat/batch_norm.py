"""BatchNormalization that training keeps alive, in a program where it is folded.

As Krishnamoorthi 2018 (arXiv 1806.08342, section 3.2.2) has it: the weight that is quantized is the
one folded with running statistics; while statistics of the batch are in use, the result is taken
back by the same factor and normalized with them, so that neither jitters with the other. Frozen,
the running statistics serve for both, and the result is that of the folded convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor
from torch.nn import functional

from qcompiler.ir.program import Program
from qcompiler.ir.walk import all_nodes, constant, is_op, sole_user, uses

_LEAST_FACTOR = 1e-6
"""A channel that gamma switches off keeps a factor that can be divided by."""


@dataclass(frozen=True, eq=False)
class Fold:
    """A BatchNormalization that went into the operator in front of it.

    Attributes:
        node: Name of the operator.
        output: Name of its result in the folded program.
        weight: The weight before, by its name in the program before folding.
        bias: The bias before; None if there is none, or if it is all zeros and no parameter.
        statistics: Names of scale, shift, mean and variance.
        epsilon: Of the normalization.
        momentum: Share of a batch in the running statistics.
        axis: Axis of the weight that the channels lie on.
    """

    node: str
    output: str
    weight: ir.Value
    bias: ir.Value | None
    statistics: tuple[ir.Value, ...]
    epsilon: float
    momentum: float
    axis: int


def folds(before: Program, after: Program) -> dict[str, Fold]:
    """What folding BatchNormalization did that training can undo, by node.

    Args:
        before: The program as canonicalization left it.
        after: The same, folded.

    Returns:
        Operators directly in front of one BatchNormalization whose folded weight is, number by
        number, that of this normalization alone.
    """
    nodes = {node.name or "": node for node in all_nodes(after.model)}
    found = {}
    for node in all_nodes(before.model):
        twin = nodes.get(node.name or "")
        fold = _fold(node, twin) if twin is not None and node.name else None
        if fold is not None:
            found[fold.node] = fold
    return found


def _fold(node: ir.Node, twin: ir.Node) -> Fold | None:
    if not is_op(node, "Conv", "ConvTranspose", "Gemm") or twin.op_type != node.op_type:
        return None
    if is_op(node, "ConvTranspose") and node.attributes.get_int("group", 1) != 1:
        return None
    if any(node.attributes.get_float(name, 1.0) != 1.0 for name in ("alpha", "beta")):
        return None
    norm = _norm_behind(node)
    if norm is None or norm.outputs[0].name != twin.outputs[0].name:
        return None
    operands = [node.inputs[1], *norm.inputs[1:5]]
    if any(each is None or constant(each) is None for each in operands):
        return None
    stored = twin.inputs[1:3]
    if len(stored) < 2 or any(each is None or len(each.uses()) != 1 for each in stored):
        return None
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and constant(bias) is None:
        return None
    turned = is_op(node, "Gemm") and not node.attributes.get_int("transB", 0)
    fold = Fold(
        node.name or "",
        twin.outputs[0].name or "",
        operands[0],  # type: ignore[arg-type]  # none is None
        bias,
        tuple(operands[1:]),  # type: ignore[arg-type]
        norm.attributes.get_float("epsilon", 1e-5),
        momentum_of(norm),
        1 if turned or is_op(node, "ConvTranspose") else 0,
    )
    return fold if _is_this_alone(fold, twin) else None


def _norm_behind(node: ir.Node) -> ir.Node | None:
    """The BatchNormalization that alone reads the node's result, and gives nothing else."""
    result = node.outputs[0]
    norm = sole_user(result)
    if norm is None or not is_op(norm, "BatchNormalization") or norm.inputs[0] is not result:
        return None
    return None if any(uses(extra) for extra in norm.outputs[1:]) else norm


def momentum_of(norm: ir.Node) -> float:
    """Share of a batch in the running statistics; ONNX says that of what is kept.

    Exporters that freeze a network write 1 (nothing new is taken in); torch's default then.
    """
    return 1.0 - norm.attributes.get_float("momentum", 0.9) or 0.1


def _is_this_alone(fold: Fold, twin: ir.Node) -> bool:
    weight, stored = constant(fold.weight), constant(twin.inputs[1])
    if weight is None or stored is None or weight.shape != stored.shape:
        return False
    gamma, _, _, variance = (constant(each) for each in fold.statistics)
    assert gamma is not None
    assert variance is not None
    factor = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + fold.epsilon)
    shape = [1] * weight.ndim
    shape[fold.axis] = -1
    expected = weight.astype(np.float64) * factor.reshape(shape)
    least = 1e-6 * np.abs(expected).max(initial=0)
    return bool(np.allclose(stored, expected, rtol=1e-4, atol=least))


def fold_factor(gamma: Tensor, variance: Tensor, epsilon: float) -> Tensor:
    """gamma / sqrt(variance + epsilon), kept away from 0."""
    factor = gamma / torch.sqrt(variance + epsilon)
    least = torch.full_like(factor, _LEAST_FACTOR)
    return torch.where(factor.abs() < _LEAST_FACTOR, least.copysign(factor), factor)


def folded_weight(weight: Tensor, factor: Tensor, axis: int) -> Tensor:
    """The weight with a factor per channel."""
    return weight * factor.reshape((-1,) + (1,) * (weight.dim() - axis - 1))


class LiveBatchNorm(torch.nn.Module):
    """What becomes of a folded operator's result.

    Attributes:
        frozen: Running statistics serve in training too, and stay as they are.
    """

    def __init__(self, epsilon: float, momentum: float) -> None:
        super().__init__()
        self._epsilon, self._momentum = epsilon, momentum
        self.frozen = False

    @property
    def lives(self) -> bool:
        """Whether statistics are those of the batch."""
        return self.training and not self.frozen

    def forward(self, y: Tensor, given: Sequence[Tensor]) -> Tensor:
        """y [N, C, ...] of the operator; gamma, beta, mean, variance and what it has of its own."""
        if not self.lives:
            return y
        gamma, beta, mean, variance = given[:4]
        return functional.batch_norm(
            y, mean, variance, gamma, beta, True, self._momentum, self._epsilon
        )


class UnfoldedWeight(torch.nn.Module):
    """The weight on its grid, for the operator: without the factor while statistics live."""

    def __init__(self, owner: LiveBatchNorm, axis: int) -> None:
        super().__init__()
        self.owner, self._axis = owner, axis

    def forward(self, weight: Tensor, factor: Tensor) -> Tensor:
        return folded_weight(weight, 1.0 / factor, self._axis) if self.owner.lives else weight


class FoldedBias(torch.nn.Module):
    """The bias of an operator with a `LiveBatchNorm` behind it."""

    def __init__(self, owner: LiveBatchNorm) -> None:
        super().__init__()
        self.owner = owner

    def forward(self, factor: Tensor, given: Sequence[Tensor]) -> Tensor | None:
        """The folded bias; the operator's own while the normalization itself shifts.

        Args:
            factor: gamma / sqrt(running variance + epsilon).
            given: gamma, beta, mean, variance, and the operator's own bias if it has one.
        """
        if self.owner.lives:
            return given[4] if len(given) > 4 else None
        return self.folded(factor, given)

    def folded(self, factor: Tensor, given: Sequence[Tensor]) -> Tensor:
        """The same with running statistics."""
        _, beta, mean, _, *own = given
        return beta + (own[0] - mean if own else -mean) * factor


class PlainBatchNorm(torch.nn.Module):
    """A normalization that goes into no operator; see `LiveBatchNorm.frozen`."""

    def __init__(self, epsilon: float, momentum: float) -> None:
        super().__init__()
        self._epsilon, self._momentum = epsilon, momentum
        self.frozen = False

    def forward(
        self, x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor
    ) -> Tensor:
        """x [N, C, ...], the others [C]."""
        lives = self.training and not self.frozen
        return functional.batch_norm(
            x, mean, variance, gamma, beta, lives, self._momentum, self._epsilon
        )
