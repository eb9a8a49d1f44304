"""`TABLE`: the torch function of every ONNX operator that runs in float, one row per operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
from torch.nn import functional

from qcompiler.backends.torch_engines.ops import (
    activation,
    arithmetic,
    conversion,
    indexing,
    layout,
    product,
    recurrent,
    reduction,
    resize,
    window,
)


@dataclass(frozen=True)
class OpRow:
    """How one operator runs in torch.

    Attributes:
        function: Takes operands by position and attributes by keyword.
        plain: Operand positions that become Python numbers when they are constant.
        objection: What of a node the function does not compute, None if it is all there.
    """

    function: Callable[..., Any]
    plain: tuple[int, ...] = ()
    objection: Callable[[ir.Node], str | None] = lambda _: None


TABLE: dict[str, OpRow] = {
    # arithmetic
    "Add": OpRow(torch.add),
    "Sub": OpRow(torch.sub),
    "Mul": OpRow(torch.mul),
    "Div": OpRow(arithmetic.divide),
    "Pow": OpRow(arithmetic.power),
    "Mod": OpRow(arithmetic.modulo),
    "Sum": OpRow(arithmetic.variadic_sum),
    "Max": OpRow(arithmetic.variadic_max),
    "Min": OpRow(arithmetic.variadic_min),
    "Mean": OpRow(arithmetic.variadic_mean),
    "Clip": OpRow(arithmetic.clip, plain=(1, 2)),
    "Abs": OpRow(torch.abs),
    "Neg": OpRow(torch.neg),
    "Sign": OpRow(torch.sign),
    "Floor": OpRow(torch.floor),
    "Ceil": OpRow(torch.ceil),
    "Round": OpRow(torch.round),
    "Reciprocal": OpRow(torch.reciprocal),
    "Sqrt": OpRow(torch.sqrt),
    "Exp": OpRow(torch.exp),
    "Log": OpRow(torch.log),
    "Erf": OpRow(torch.erf),
    "Sin": OpRow(torch.sin),
    "Cos": OpRow(torch.cos),
    "Tan": OpRow(torch.tan),
    "Asin": OpRow(torch.asin),
    "Acos": OpRow(torch.acos),
    "Atan": OpRow(torch.atan),
    "Sinh": OpRow(torch.sinh),
    "Cosh": OpRow(torch.cosh),
    "Asinh": OpRow(torch.asinh),
    "Acosh": OpRow(torch.acosh),
    "Atanh": OpRow(torch.atanh),
    # comparison and logic
    "Equal": OpRow(torch.eq),
    "Less": OpRow(torch.lt),
    "LessOrEqual": OpRow(torch.le),
    "Greater": OpRow(torch.gt),
    "GreaterOrEqual": OpRow(torch.ge),
    "And": OpRow(torch.logical_and),
    "Or": OpRow(torch.logical_or),
    "Xor": OpRow(torch.logical_xor),
    "Not": OpRow(torch.logical_not),
    "BitwiseAnd": OpRow(torch.bitwise_and),
    "BitwiseOr": OpRow(torch.bitwise_or),
    "BitwiseXor": OpRow(torch.bitwise_xor),
    "BitwiseNot": OpRow(torch.bitwise_not),
    "BitShift": OpRow(arithmetic.bit_shift),
    "IsNaN": OpRow(torch.isnan),
    "IsInf": OpRow(arithmetic.is_inf),
    "Where": OpRow(torch.where),
    "Cast": OpRow(arithmetic.cast),
    "CastLike": OpRow(arithmetic.cast_like),
    # activations
    "Relu": OpRow(torch.relu),
    "LeakyRelu": OpRow(activation.leaky_relu),
    "PRelu": OpRow(activation.prelu),
    "Elu": OpRow(activation.elu),
    "Celu": OpRow(activation.celu),
    "Selu": OpRow(activation.selu),
    "Sigmoid": OpRow(torch.sigmoid),
    "HardSigmoid": OpRow(activation.hard_sigmoid),
    "HardSwish": OpRow(functional.hardswish),
    "Tanh": OpRow(torch.tanh),
    "Softplus": OpRow(functional.softplus),
    "Softsign": OpRow(functional.softsign),
    "ThresholdedRelu": OpRow(activation.thresholded_relu),
    "Shrink": OpRow(activation.shrink),
    "Gelu": OpRow(activation.gelu),
    "Mish": OpRow(functional.mish),
    "Softmax": OpRow(activation.softmax),
    "LogSoftmax": OpRow(activation.log_softmax),
    "Hardmax": OpRow(activation.hardmax),
    "Dropout": OpRow(activation.dropout),
    # products, windows, normalisation, recurrence
    "MatMul": OpRow(torch.matmul),
    "Gemm": OpRow(product.gemm),
    "Einsum": OpRow(product.einsum),
    "MatMulInteger": OpRow(product.matmul_integer),
    "Conv": OpRow(window.conv),
    "ConvTranspose": OpRow(window.conv_transpose),
    "MaxPool": OpRow(window.max_pool),
    "AveragePool": OpRow(window.average_pool),
    "LpPool": OpRow(window.lp_pool),
    "GlobalAveragePool": OpRow(window.global_average_pool),
    "GlobalMaxPool": OpRow(window.global_max_pool),
    "GlobalLpPool": OpRow(window.global_lp_pool),
    "BatchNormalization": OpRow(product.batch_norm),
    "InstanceNormalization": OpRow(product.instance_norm),
    "LayerNormalization": OpRow(product.layer_norm),
    "GroupNormalization": OpRow(product.group_norm),
    "LRN": OpRow(product.lrn),
    "LpNormalization": OpRow(product.lp_norm),
    "MeanVarianceNormalization": OpRow(product.mean_variance_norm),
    "LSTM": OpRow(recurrent.lstm, objection=recurrent.objection),
    "GRU": OpRow(recurrent.gru, objection=recurrent.objection),
    "RNN": OpRow(recurrent.rnn, objection=recurrent.objection),
    # reductions
    "ReduceSum": OpRow(reduction.reduce_sum, plain=(1,)),
    "ReduceMean": OpRow(reduction.reduce_mean, plain=(1,)),
    "ReduceMax": OpRow(reduction.reduce_max, plain=(1,)),
    "ReduceMin": OpRow(reduction.reduce_min, plain=(1,)),
    "ReduceProd": OpRow(reduction.reduce_prod, plain=(1,)),
    "ReduceL1": OpRow(reduction.reduce_l1, plain=(1,)),
    "ReduceL2": OpRow(reduction.reduce_l2, plain=(1,)),
    "ReduceSumSquare": OpRow(reduction.reduce_sum_square, plain=(1,)),
    "ReduceLogSum": OpRow(reduction.reduce_log_sum, plain=(1,)),
    "ReduceLogSumExp": OpRow(reduction.reduce_log_sum_exp, plain=(1,)),
    # data movement and shapes
    "Identity": OpRow(layout.identity),
    "Reshape": OpRow(layout.reshape, plain=(1,)),
    "Flatten": OpRow(layout.flatten),
    "Squeeze": OpRow(layout.squeeze, plain=(1,)),
    "Unsqueeze": OpRow(layout.unsqueeze, plain=(1,)),
    "Transpose": OpRow(layout.transpose),
    "Expand": OpRow(layout.expand, plain=(1,)),
    "Tile": OpRow(layout.tile, plain=(1,)),
    "Concat": OpRow(layout.concat),
    "Split": OpRow(layout.split, plain=(1,)),
    "Slice": OpRow(layout.slice_, plain=(1, 2, 3, 4)),
    "Pad": OpRow(layout.pad, plain=(1, 3)),
    "DepthToSpace": OpRow(layout.depth_to_space),
    "SpaceToDepth": OpRow(layout.space_to_depth),
    "Resize": OpRow(resize.resize, plain=(2, 3), objection=resize.objection),
    "Shape": OpRow(layout.shape),
    "Size": OpRow(layout.size),
    "Range": OpRow(layout.range_),
    "ConstantOfShape": OpRow(layout.constant_of_shape, plain=(0,)),
    "EyeLike": OpRow(layout.eye_like),
    "OneHot": OpRow(layout.one_hot, plain=(1,)),
    "Trilu": OpRow(layout.trilu),
    "ReverseSequence": OpRow(layout.reverse_sequence),
    # selection
    "Gather": OpRow(indexing.gather),
    "GatherElements": OpRow(indexing.gather_elements),
    "GatherND": OpRow(indexing.gather_nd),
    "ScatterElements": OpRow(indexing.scatter_elements),
    "ScatterND": OpRow(indexing.scatter_nd),
    "TopK": OpRow(indexing.top_k, plain=(1,)),
    "ArgMax": OpRow(indexing.arg_max),
    "ArgMin": OpRow(indexing.arg_min),
    "NonZero": OpRow(indexing.non_zero),
    "CumSum": OpRow(indexing.cum_sum, plain=(1,)),
    "Compress": OpRow(indexing.compress),
    "NonMaxSuppression": OpRow(indexing.non_max_suppression, plain=(2,)),
    "GridSample": OpRow(indexing.grid_sample),
    # quantization outside the kernels
    "QuantizeLinear": OpRow(conversion.quantize_linear),
    "DequantizeLinear": OpRow(conversion.dequantize_linear),
    "DynamicQuantizeLinear": OpRow(conversion.dynamic_quantize_linear),
}
"""Rows by ONNX op; If, Loop and Scan are lowered by `control`, quantized kernels by `islands`."""
