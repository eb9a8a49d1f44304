"""`TABLE`: the torch function of every ONNX operator that runs in float, one row per operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch.nn import functional

from qcompiler.lowering.torch_fx.ops import (
    activation,
    arithmetic,
    classical,
    conversion,
    convolution,
    gate_functions,
    grouping,
    indexing,
    integer,
    layout,
    losses,
    pooling,
    product,
    random,
    recurrent,
    reduction,
    resize,
    sequences,
    signals,
    spatial,
    unsigned,
)
from qcompiler.lowering.torch_fx.ops.row import OpRow


def _type_of(value: ir.Value | None) -> int:
    return 0 if value is None or value.dtype is None else value.dtype.value


def _like(node: ir.Node) -> Mapping[str, Any]:
    """CastLike: the type of the second operand, which torch's tensor does not always tell."""
    return {"to": _type_of(node.inputs[1])}


def _quantized_type(node: ir.Node) -> Mapping[str, Any]:
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    known = _type_of(node.outputs[0]) or _type_of(zero)
    return {"output_dtype": known} if known else {}


def _range_type(node: ir.Node) -> Mapping[str, Any]:
    """Only sizes have no known type."""
    kinds = [_type_of(value) for value in (*node.inputs, *node.outputs)]
    return {"to": next((kind for kind in kinds if kind), ir.DataType.INT64.value)}


def _fill(node: ir.Node) -> Mapping[str, Any]:
    """ConstantOfShape's value as a number: one taken out of a tensor would not be known."""
    given = node.attributes.get("value")
    if given is None:
        return {"dtype": ir.DataType.FLOAT.value}
    tensor = given.as_tensor()
    (only,) = tensor.numpy().reshape(-1)
    exact = only.item() if only.dtype.kind in "biufc" else float(only)
    return {"value": exact, "dtype": tensor.dtype.value}


def _labelled(node: ir.Node) -> str | None:
    found = any(name.endswith("_strings") for name in node.attributes)
    return "strings" if found else None


def _words(node: ir.Node) -> str | None:
    return "strings" if "pool_strings" in node.attributes else None


_U = unsigned.by_numpy


TABLE: dict[str, OpRow] = {
    # arithmetic
    "Add": OpRow(torch.add, unsigned=_U(np.add)),
    "Sub": OpRow(torch.sub, unsigned=_U(np.subtract)),
    "Mul": OpRow(torch.mul, unsigned=_U(np.multiply)),
    "Div": OpRow(arithmetic.divide, unsigned=_U(np.floor_divide)),
    "Pow": OpRow(arithmetic.power, unsigned=_U(np.power)),
    "Mod": OpRow(arithmetic.modulo, unsigned=unsigned.modulo),
    "Sum": OpRow(arithmetic.variadic_sum, unsigned=unsigned.folded(np.add)),
    "Max": OpRow(arithmetic.variadic_max, unsigned=unsigned.folded(np.maximum)),
    "Min": OpRow(arithmetic.variadic_min, unsigned=unsigned.folded(np.minimum)),
    "Mean": OpRow(arithmetic.variadic_mean),
    "Clip": OpRow(arithmetic.clip, plain=(1, 2), unsigned=unsigned.clip),
    "Abs": OpRow(torch.abs, unsigned=_U(np.abs)),
    "Neg": OpRow(torch.neg),
    "Sign": OpRow(torch.sign, unsigned=_U(np.sign)),
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
    "Equal": OpRow(torch.eq, unsigned=_U(np.equal)),
    "Less": OpRow(torch.lt, unsigned=_U(np.less)),
    "LessOrEqual": OpRow(torch.le, unsigned=_U(np.less_equal)),
    "Greater": OpRow(torch.gt, unsigned=_U(np.greater)),
    "GreaterOrEqual": OpRow(torch.ge, unsigned=_U(np.greater_equal)),
    "And": OpRow(torch.logical_and),
    "Or": OpRow(torch.logical_or),
    "Xor": OpRow(torch.logical_xor),
    "Not": OpRow(torch.logical_not),
    "BitwiseAnd": OpRow(torch.bitwise_and, unsigned=_U(np.bitwise_and)),
    "BitwiseOr": OpRow(torch.bitwise_or, unsigned=_U(np.bitwise_or)),
    "BitwiseXor": OpRow(torch.bitwise_xor, unsigned=_U(np.bitwise_xor)),
    "BitwiseNot": OpRow(torch.bitwise_not, unsigned=_U(np.invert)),
    "BitShift": OpRow(arithmetic.bit_shift, unsigned=unsigned.shift),
    "IsNaN": OpRow(torch.isnan),
    "IsInf": OpRow(arithmetic.is_inf),
    "Where": OpRow(torch.where),
    "Cast": OpRow(arithmetic.cast),
    "CastLike": OpRow(arithmetic.cast_like, facts=_like),
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
    "Dropout": OpRow(random.dropout, plain=(1, 2), is_tuple=True),
    "Swish": OpRow(activation.swish),
    # products, windows, normalisation, recurrence
    "MatMul": OpRow(torch.matmul),
    "Gemm": OpRow(product.gemm),
    "Einsum": OpRow(product.einsum),
    "MatMulInteger": OpRow(product.matmul_integer),
    "Conv": OpRow(convolution.conv),
    "ConvTranspose": OpRow(convolution.conv_transpose),
    "MaxPool": OpRow(pooling.max_pool, several=pooling.max_pool_indices),
    "AveragePool": OpRow(pooling.average_pool),
    "LpPool": OpRow(pooling.lp_pool),
    "GlobalAveragePool": OpRow(pooling.global_average_pool),
    "GlobalMaxPool": OpRow(pooling.global_max_pool),
    "GlobalLpPool": OpRow(pooling.global_lp_pool),
    "BatchNormalization": OpRow(product.batch_norm, several=product.batch_norm_statistics),
    "InstanceNormalization": OpRow(product.instance_norm),
    "LayerNormalization": OpRow(product.layer_norm, several=product.layer_norm_statistics),
    "GroupNormalization": OpRow(product.group_norm),
    "LRN": OpRow(product.lrn),
    "LpNormalization": OpRow(product.lp_norm),
    "MeanVarianceNormalization": OpRow(product.mean_variance_norm),
    "LSTM": OpRow(recurrent.lstm, objection=gate_functions.objection, is_tuple=True),
    "GRU": OpRow(recurrent.gru, objection=gate_functions.objection, is_tuple=True),
    "RNN": OpRow(recurrent.rnn, objection=gate_functions.objection, is_tuple=True),
    "RMSNormalization": OpRow(product.rms_norm),
    "Det": OpRow(torch.det),
    "ConvInteger": OpRow(integer.conv_integer),
    "QLinearConv": OpRow(integer.qlinear_conv),
    "QLinearMatMul": OpRow(integer.qlinear_matmul),
    "DeformConv": OpRow(spatial.deform_conv),
    "Col2Im": OpRow(spatial.col2im, plain=(1, 2)),
    "MaxUnpool": OpRow(spatial.max_unpool, plain=(2,)),
    "RoiAlign": OpRow(spatial.roi_align),
    "MaxRoiPool": OpRow(spatial.max_roi_pool),
    "AffineGrid": OpRow(spatial.affine_grid, plain=(1,)),
    "NegativeLogLikelihoodLoss": OpRow(losses.negative_log_likelihood),
    "SoftmaxCrossEntropyLoss": OpRow(losses.softmax_cross_entropy, is_tuple=True),
    # signals
    "HannWindow": OpRow(signals.hann_window, plain=(0,)),
    "HammingWindow": OpRow(signals.hamming_window, plain=(0,)),
    "BlackmanWindow": OpRow(signals.blackman_window, plain=(0,)),
    "DFT": OpRow(signals.dft, plain=(1, 2)),
    "STFT": OpRow(signals.stft, plain=(1, 3)),
    "MelWeightMatrix": OpRow(signals.mel_weight_matrix, plain=(0, 1, 2)),
    # random numbers
    "RandomNormal": OpRow(random.normal),
    "RandomUniform": OpRow(random.uniform),
    "RandomNormalLike": OpRow(random.normal_like),
    "RandomUniformLike": OpRow(random.uniform_like),
    "Bernoulli": OpRow(random.bernoulli),
    "Multinomial": OpRow(random.multinomial),
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
    "Split": OpRow(layout.split, plain=(1,), is_tuple=True),
    "Slice": OpRow(layout.slice_, plain=(1, 2, 3, 4)),
    "Pad": OpRow(layout.pad, plain=(1, 2, 3)),
    "DepthToSpace": OpRow(layout.depth_to_space),
    "SpaceToDepth": OpRow(layout.space_to_depth),
    "Resize": OpRow(resize.resize, plain=(1, 2, 3)),
    "Shape": OpRow(layout.shape),
    "Size": OpRow(layout.size),
    "Range": OpRow(layout.range_, plain=(0, 1, 2), facts=_range_type),
    "ConstantOfShape": OpRow(layout.constant_of_shape, plain=(0,), facts=_fill),
    "EyeLike": OpRow(layout.eye_like),
    "OneHot": OpRow(layout.one_hot, plain=(1,)),
    "Trilu": OpRow(layout.trilu, plain=(1,)),
    "ReverseSequence": OpRow(layout.reverse_sequence),
    "CenterCropPad": OpRow(grouping.center_crop_pad, plain=(1,)),
    # sequences and optionals
    "SequenceEmpty": OpRow(sequences.empty),
    "SequenceConstruct": OpRow(sequences.construct),
    "SequenceInsert": OpRow(sequences.insert, plain=(2,)),
    "SequenceErase": OpRow(sequences.erase, plain=(1,)),
    "SequenceAt": OpRow(sequences.at, plain=(1,)),
    "SequenceLength": OpRow(sequences.length),
    "SplitToSequence": OpRow(sequences.split, plain=(1,)),
    "ConcatFromSequence": OpRow(sequences.concat),
    "Optional": OpRow(sequences.optional),
    "OptionalGetElement": OpRow(sequences.get_element),
    "OptionalHasElement": OpRow(sequences.has_element),
    # selection
    "Unique": OpRow(grouping.unique, is_tuple=True),
    "TfIdfVectorizer": OpRow(grouping.tf_idf, objection=_words),
    "Gather": OpRow(indexing.gather),
    "GatherElements": OpRow(indexing.gather_elements),
    "GatherND": OpRow(indexing.gather_nd),
    "ScatterElements": OpRow(indexing.scatter_elements),
    "ScatterND": OpRow(indexing.scatter_nd),
    "TopK": OpRow(indexing.top_k, plain=(1,), is_tuple=True),
    "ArgMax": OpRow(indexing.arg_max),
    "ArgMin": OpRow(indexing.arg_min),
    "NonZero": OpRow(indexing.non_zero),
    "CumSum": OpRow(indexing.cum_sum, plain=(1,)),
    "Compress": OpRow(indexing.compress),
    "NonMaxSuppression": OpRow(indexing.non_max_suppression, plain=(2,)),
    "GridSample": OpRow(indexing.grid_sample),
    # quantization outside the kernels
    "QuantizeLinear": OpRow(conversion.quantize_linear, facts=_quantized_type),
    "DequantizeLinear": OpRow(conversion.dequantize_linear),
    "DynamicQuantizeLinear": OpRow(conversion.dynamic_quantize_linear, is_tuple=True),
}
"""Rows by ONNX op; If, Loop and Scan are lowered by `control`, quantized kernels by `islands`."""

_ML = "ai.onnx.ml"
FOREIGN: dict[tuple[str, str], OpRow] = {
    (_ML, "ArrayFeatureExtractor"): OpRow(classical.array_feature_extractor),
    (_ML, "Binarizer"): OpRow(classical.binarizer),
    (_ML, "FeatureVectorizer"): OpRow(classical.feature_vectorizer),
    (_ML, "Imputer"): OpRow(classical.imputer),
    (_ML, "LabelEncoder"): OpRow(classical.label_encoder, objection=_labelled),
    (_ML, "LinearRegressor"): OpRow(classical.linear_regressor),
    (_ML, "Normalizer"): OpRow(classical.normalizer),
    (_ML, "Scaler"): OpRow(classical.scaler),
}
"""Rows of other domains."""


def row_of(node: ir.Node) -> OpRow | None:
    """How a node runs in float, None if torch has no equal."""
    if node.domain in ("", "ai.onnx"):
        return TABLE.get(node.op_type)
    return FOREIGN.get((node.domain, node.op_type))
