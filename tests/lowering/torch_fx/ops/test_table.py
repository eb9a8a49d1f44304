"""Every row of the float op table against ONNX Runtime, with constant and computed operands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

from qcompiler.lowering.torch_fx.ops.table import TABLE

Case = tuple[list[Any], dict[str, Any]]
_RNG = np.random.default_rng(7)


def f(*shape: int, low: float = -2.0, high: float = 2.0) -> np.ndarray[Any, Any]:
    return _RNG.uniform(low, high, shape).astype(np.float32)


def i64(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


def f32(value: float) -> np.ndarray[Any, Any]:
    return np.array(value, np.float32)


def s64(value: int) -> np.ndarray[Any, Any]:
    return np.array(value, np.int64)


def ints(*shape: int, low: int = -9, high: int = 9, dtype: Any = np.int64) -> Any:
    return _RNG.integers(low, high, shape).astype(dtype)


def bools(*shape: int) -> Any:
    return _RNG.integers(0, 2, shape).astype(np.bool_)


def unary(low: float = -2.0, high: float = 2.0, **attributes: Any) -> list[Case]:
    return [([f(2, 3, 4, low=low, high=high)], attributes)]


def binary() -> list[Case]:
    return [([f(2, 3, 4), f(3, 1, low=0.5)], {})]


def compare() -> list[Case]:
    a, b = ints(4, 5, low=0, high=3, dtype=np.float32), ints(5, low=0, high=3, dtype=np.float32)
    return [([a, b], {})]


def logic() -> list[Case]:
    return [([bools(3, 4), bools(4)], {})]


def bitwise() -> list[Case]:
    return [([ints(3, 4, dtype=np.int32), ints(4, dtype=np.int32)], {})]


def reduce(low: float = 0.2) -> list[Case]:
    x = f(2, 3, 4, low=low)
    return [
        ([x, i64(1)], {}),
        ([x, i64(-1, 0)], {"keepdims": 0}),
        ([x], {"keepdims": 1}),
        ([x], {"noop_with_empty_axes": 1}),
    ]


def conv(spatial: int, **attributes: Any) -> Case:
    size, kernel = [9, 8, 7][:spatial], [3, 2, 3][:spatial]
    group = attributes.get("group", 1)
    return [f(2, 4, *size), f(6, 4 // group, *kernel), f(6)], attributes


def transposed(spatial: int, **attributes: Any) -> Case:
    size, kernel = [5, 6, 4][:spatial], [3, 2, 3][:spatial]
    group = attributes.get("group", 1)
    return [f(2, 4, *size), f(4, 6 // group, *kernel), f(6)], attributes


def pool(**attributes: Any) -> list[Case]:
    return [
        ([f(1, 3, 9)], {"kernel_shape": [3], "strides": [2], **attributes}),
        ([f(1, 3, 8, 9)], {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}),
        ([f(1, 3, 8, 9)], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
        ([f(1, 2, 7, 7)], {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ([f(1, 2, 8, 8)], {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
        ([f(1, 2, 5, 6, 5)], {"kernel_shape": [2, 2, 2], "pads": [0, 1, 0, 1, 0, 1]}),
    ]


def recurrent(gates: int, outputs: int, **attributes: Any) -> list[Case]:
    cases: list[Case] = []
    for direction, count in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
        w, r, b = f(count, gates * 5, 3), f(count, gates * 5, 5), f(count, gates * 10)
        states = [f(count, 2, 5) for _ in range(outputs - 1)]
        options = {"hidden_size": 5, "direction": direction, "outputs": outputs, **attributes}
        cases.append(([f(4, 2, 3), w, r, b], options))
        cases.append(([f(4, 2, 3), w, r, b, None, *states], options))
        cases.append(([f(4, 2, 3), w, r, b, np.array([4, 2], np.int32), *states], options))
    return cases


_HALF = {"coordinate_transformation_mode": "half_pixel"}
_CORNERS = {"coordinate_transformation_mode": "align_corners"}
_ASYM = {"coordinate_transformation_mode": "asymmetric"}
_SCALES = np.array([1, 1, 2, 2], np.float32)
_ODD = np.array([1, 1, 1.5, 0.6], np.float32)

_UNARY = """
    Abs Neg Sign Floor Ceil Round Exp Erf Sin Cos Tan Atan Sinh Cosh Asinh Relu LeakyRelu Elu
    Celu Selu Sigmoid HardSigmoid HardSwish Tanh Softplus Softsign ThresholdedRelu Mish Identity
"""

CASES: dict[str, list[Case]] = {
    **{op: binary() for op in ("Add", "Sub", "Mul", "Div")},
    **{op: [([f(2, 3), f(3), f(2, 1)], {})] for op in ("Sum", "Max", "Min", "Mean")},
    "Pow": [([f(3, 4, low=0.1), f(4)], {}), ([f(3), np.array(2, np.int64)], {})],
    "Mod": [([ints(9), ints(9, low=1)], {}), ([f(5), f(5, low=1)], {"fmod": 1})],
    "Clip": [([f(9), np.float32(-1), np.float32(1)], {}), ([f(9), None, np.float32(0)], {})],
    **{op: unary() for op in _UNARY.split()},
    **{op: unary(0.1, 2.0) for op in ("Reciprocal", "Sqrt", "Log")},
    **{op: unary(-0.9, 0.9) for op in ("Asin", "Acos", "Atanh")},
    "Acosh": unary(1.1, 3.0),
    **{op: compare() for op in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")},
    **{op: logic() for op in ("And", "Or", "Xor")},
    "Not": [([bools(3, 4)], {})],
    **{op: bitwise() for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")},
    "BitwiseNot": [([ints(3, dtype=np.int32)], {})],
    "BitShift": [
        ([ints(5, low=1, dtype=np.uint8), ints(5, low=0, high=4, dtype=np.uint8)], {"direction": d})
        for d in ("LEFT", "RIGHT")
    ],
    "IsNaN": [([np.array([1, np.nan, np.inf], np.float32)], {})],
    "IsInf": [
        ([np.array([1, -np.inf, np.inf], np.float32)], {"detect_negative": n}) for n in (0, 1)
    ],
    "Where": [([bools(3, 4), f(4), f(3, 1)], {})],
    "Cast": [
        ([f(5)], {"to": 7}),
        ([ints(5)], {"to": 1}),
        ([f(5)], {"to": 9}),
        ([f(5)], {"to": 11}),
    ],
    "CastLike": [([f(5), ints(1)], {})],
    "PRelu": [([f(2, 3, 4), f(3, 1)], {}), ([f(2, 3), f(1)], {})],
    "Shrink": unary(bias=0.3, lambd=0.7),
    "Gelu": unary() + unary(approximate="tanh"),
    **{op: unary() + unary(axis=1) for op in ("Softmax", "LogSoftmax", "Hardmax")},
    "Dropout": [([f(3, 4)], {"outputs": 2})],
    "MatMul": [([f(2, 3, 4), f(4, 5)], {}), ([f(4), f(2, 4, 3)], {})],
    "Gemm": [
        ([f(3, 4), f(5, 4), f(5)], {"transB": 1}),
        ([f(4, 3), f(4, 5), f(3, 1)], {"transA": 1, "alpha": 0.5, "beta": 2.0}),
        ([f(3, 4), f(4, 5)], {}),
    ],
    "Einsum": [([f(2, 3, 4), f(2, 4, 5)], {"equation": "bij, bjk -> bik"})],
    "MatMulInteger": [
        (
            [ints(3, 4, low=0, dtype=np.uint8), ints(4, 5, dtype=np.int8), np.uint8(3), np.int8(0)],
            {},
        )
    ],
    "Conv": [
        conv(1, pads=[1, 2]),
        conv(2, strides=[2, 1], pads=[1, 1, 1, 1], group=2),
        conv(2, auto_pad="SAME_UPPER", strides=[2, 2]),
        conv(2, auto_pad="SAME_LOWER"),
        conv(2, dilations=[2, 1], pads=[0, 1, 1, 0]),
        conv(3, auto_pad="VALID"),
    ],
    "ConvTranspose": [
        transposed(1, strides=[2]),
        transposed(2, strides=[2, 3], pads=[1, 0, 1, 0], output_padding=[1, 0]),
        transposed(2, strides=[2, 2], pads=[1, 0, 0, 1], group=2),
        transposed(2, strides=[2, 2], auto_pad="SAME_UPPER"),
        transposed(2, strides=[2, 2], output_shape=[11, 12]),
        transposed(3, dilations=[1, 2, 1]),
        transposed(2, strides=[2, 2], auto_pad="SAME_LOWER"),
        transposed(2, strides=[2, 2], output_shape=[11, 12], auto_pad="SAME_UPPER"),
        transposed(1, strides=[2], output_shape=[10]),
        transposed(1, strides=[2], auto_pad="VALID"),
        transposed(1, strides=[3], dilations=[2], output_padding=[2]),
    ],
    "MaxPool": [
        *pool(),
        *(
            ([f(2, 3, 6, 7)], {"kernel_shape": [3, 2], "outputs": 2, **form})
            for form in (
                {},
                {"storage_order": 1, "pads": [1, 0, 1, 1]},
                {"strides": [2, 2], "auto_pad": "SAME_LOWER"},
                {"strides": [2, 3], "ceil_mode": 1},
                {"dilations": [2, 1]},
            )
        ),
        ([f(2, 3, 9)], {"kernel_shape": [3], "strides": [2], "outputs": 2}),
        ([f(1, 2, 5, 6, 5)], {"kernel_shape": [2, 2, 2], "outputs": 2}),
        ([f(1, 2, 9, 9)], {"kernel_shape": [2, 2], "dilations": [2, 2]}),
    ],
    "AveragePool": [
        *pool(),
        ([f(1, 2, 7, 7)], {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1}),
        (
            [f(1, 2, 8, 8)],
            {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4, "ceil_mode": 1},
        ),
    ],
    "LpPool": [
        ([f(1, 2, 7, 7)], {"kernel_shape": [3, 2], "strides": [2, 1], "p": 2}),
        ([f(1, 2, 5, 5)], {"kernel_shape": [3, 3], "strides": [3, 3], "ceil_mode": 1}),
    ],
    **{
        op: [([f(2, 3, 4, 5)], {}), ([f(2, 3, 4)], {})]
        for op in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
    },
    "BatchNormalization": [([f(2, 3, 4), f(3), f(3), f(3), f(3, low=0.5)], {"epsilon": 1e-3})],
    "InstanceNormalization": [
        ([f(2, 3, 5, 5), f(3), f(3)], {}),
        ([f(1, 3, 1, 1), f(3), f(3)], {}),
    ],
    "LayerNormalization": [
        ([f(2, 3, 8), f(8), f(8)], {}),
        ([f(2, 3, 8), f(3, 8)], {"axis": 1, "epsilon": 1e-3}),
    ],
    "GroupNormalization": [
        ([f(2, 6, 4, 4), f(6), f(6)], {"num_groups": 3}),
        ([f(1, 3, 1), f(3), f(3)], {"num_groups": 3}),
    ],
    "LRN": [([f(2, 7, 3, 3)], {"size": 3}), ([f(7, 7, 3, 3)], {"size": 4, "alpha": 0.1})],
    "LpNormalization": [
        *unary(axis=1),
        *unary(p=1),
        ([np.array([[0, 0], [3, 4]], np.float32)], {"axis": 1}),
    ],
    "MeanVarianceNormalization": [([f(2, 3, 4, 4)], {})],
    "LSTM": [
        *recurrent(4, 3),
        (
            [f(4, 2, 3), f(1, 20, 3), f(1, 20, 5), f(1, 40), None, None, None, f(1, 15)],
            {"hidden_size": 5, "outputs": 3},
        ),
    ],
    "GRU": recurrent(3, 2) + recurrent(3, 2, linear_before_reset=1),
    "RNN": recurrent(1, 2),
    **{
        f"Reduce{kind}": [*reduce(), ([ints(3, 4, low=1), i64(1)], {})]
        for kind in (
            "Sum",
            "Mean",
            "Max",
            "Min",
            "Prod",
            "L1",
            "L2",
            "SumSquare",
            "LogSum",
            "LogSumExp",
        )
    },
    "Reshape": [([f(2, 3, 4), i64(0, -1)], {}), ([f(2, 6), i64(3, 4)], {})],
    "Flatten": [([f(2, 3, 4)], {}), ([f(2, 3, 4)], {"axis": -1}), ([f(2, 3)], {"axis": 0})],
    "Squeeze": [([f(1, 3, 1), i64(0)], {}), ([f(1, 3, 1)], {})],
    "Unsqueeze": [([f(3, 4), i64(0, -1)], {})],
    "Transpose": [([f(2, 3, 4)], {}), ([f(2, 3, 4)], {"perm": [1, 2, 0]})],
    "Expand": [([f(3, 1), i64(2, 1, 4)], {})],
    "Tile": [([f(2, 3), i64(2, 1)], {})],
    "Concat": [([f(2, 3), f(2, 1)], {"axis": -1})],
    "Split": [
        ([f(7, 2), i64(3, 4)], {"outputs": 2}),
        ([f(2, 7)], {"axis": 1, "num_outputs": 3, "outputs": 3}),
    ],
    "Slice": [
        ([f(5, 6), i64(1), i64(-1), i64(1), i64(2)], {}),
        ([f(5, 6), i64(-1, 4), i64(-100, 0), i64(0, 1), i64(-2, -1)], {}),
        ([f(5, 6), i64(3), i64(2), i64(0)], {}),
        ([f(5, 6), i64(0, 2), i64(9, 9)], {}),
    ],
    "Pad": [
        ([f(2, 3), i64(1, 0, 0, 2), np.float32(1.5)], {}),
        ([f(4, 3), i64(1, 2), None, i64(0)], {"mode": "reflect"}),
        ([f(4, 3), i64(1, 2, 0, 1)], {"mode": "edge"}),
        ([f(4, 3), i64(1, 2, 0, 1)], {"mode": "wrap"}),
        ([f(4, 3), i64(-1, 2, 0, -1)], {}),
    ],
    "DepthToSpace": [([f(1, 8, 2, 3)], {"blocksize": 2, "mode": m}) for m in ("DCR", "CRD")],
    "SpaceToDepth": [([f(1, 2, 4, 6)], {"blocksize": 2})],
    "Resize": [
        ([f(1, 2, 4, 5), None, _SCALES], {"mode": "nearest", "nearest_mode": "floor", **_ASYM}),
        ([f(1, 2, 4, 5), None, _SCALES], {"mode": "nearest", **_HALF}),
        ([f(1, 2, 4, 5), None, _ODD], {"mode": "nearest", "nearest_mode": "ceil", **_ASYM}),
        ([f(1, 2, 4, 5), None, _SCALES], {"mode": "linear", **_HALF}),
        ([f(1, 2, 4, 5), None, _ODD], {"mode": "linear", **_HALF}),
        ([f(1, 2, 4, 5), None, None, i64(1, 2, 7, 3)], {"mode": "linear", **_CORNERS}),
        ([f(1, 2, 4, 5), None, None, i64(1, 2, 8, 10)], {"mode": "linear", **_CORNERS}),
        ([f(1, 2, 4, 5), None, _SCALES], {"mode": "linear", **_ASYM}),
        ([f(1, 2, 4, 5), None, _SCALES], {"mode": "cubic", **_HALF}),
        ([f(1, 2, 4, 5), None, _SCALES], {"mode": "cubic", "exclude_outside": 1, **_HALF}),
    ],
    "Shape": [([f(2, 3, 4)], {}), ([f(2, 3, 4)], {"start": 1, "end": -1})],
    "Size": [([f(2, 3)], {})],
    "Range": [([s64(1), s64(9), s64(3)], {}), ([f32(5), f32(0), f32(-1.5)], {})],
    "ConstantOfShape": [
        ([i64(2, 3)], {}),
        ([i64(2)], {"value": numpy_helper.from_array(np.array([7], np.int64))}),
    ],
    "EyeLike": [([f(3, 4)], {"k": 1})],
    "OneHot": [
        ([i64(0, 2, -1), s64(3), f(2)], {}),
        ([ints(2, 3, low=0, high=4), s64(4), f(2)], {"axis": 1}),
        ([ints(2, 3, low=0, high=4), f32(4), f(2)], {}),
    ],
    "Trilu": [([f(4, 5), s64(1)], {}), ([f(4, 5)], {"upper": 0})],
    "ReverseSequence": [
        ([f(4, 3), i64(1, 4, 2)], {}),
        ([f(3, 4, 2), i64(1, 4, 2)], {"batch_axis": 0, "time_axis": 1}),
    ],
    "Gather": [([f(4, 3), ints(2, 2, low=-4, high=4)], {}), ([f(2, 4), s64(1)], {"axis": 1})],
    "GatherElements": [([f(4, 3), ints(2, 3, low=-4, high=4)], {})],
    "GatherND": [
        ([f(2, 3, 4), ints(5, 2, low=0, high=2)], {}),
        ([f(2, 3, 4), ints(2, 5, 1, low=0, high=3)], {"batch_dims": 1}),
    ],
    "ScatterElements": [
        ([f(4, 3), np.array([[0, 1, 2]]), f(1, 3)], {}),
        ([f(4, 3), np.array([[0, 1, 2], [0, -3, 1]]), f(2, 3)], {"reduction": "add"}),
    ],
    "ScatterND": [
        ([f(4, 3), np.array([[0], [2]]), f(2, 3)], {}),
        ([f(4, 3), np.array([[0, 1], [0, 1]]), f(2)], {"reduction": "add"}),
        ([f(4, 3), np.array([[0, 1], [3, 1]]), f(2)], {"reduction": "max"}),
    ],
    "TopK": [
        ([f(3, 6), i64(2)], {"outputs": 2}),
        ([f(6, 3), i64(4)], {"axis": 0, "largest": 0, "outputs": 2}),
    ],
    **{
        op: [
            ([f(3, 4)], {"axis": 1}),
            ([ints(4, 9, high=-6, dtype=np.float32)], {"keepdims": 0}),
            ([ints(4, 9, high=-6, dtype=np.float32)], {"axis": 1, "select_last_index": 1}),
        ]
        for op in ("ArgMax", "ArgMin")
    },
    "NonZero": [([bools(3, 4)], {})],
    "CumSum": [([f(3, 4), s64(1)], {"exclusive": e, "reverse": r}) for e in (0, 1) for r in (0, 1)],
    "Compress": [
        ([f(3, 4), np.array([True, False, True])], {"axis": 0}),
        ([f(2, 3), np.array([False, True, True])], {}),
    ],
    "NonMaxSuppression": [
        (
            [
                np.array(
                    [[[0, 0, 1, 1], [0, 0.1, 1, 1.1], [2, 2, 3, 3], [0, 0, 1, 1.01]]], np.float32
                ),
                np.array([[[0.9, 0.75, 0.6, 0.95]]], np.float32),
                i64(3),
                f32(0.5),
                f32(0.1),
            ],
            {},
        ),
        ([f(1, 6, 4, low=0.1), f(1, 2, 6, low=0), i64(2), f32(0.4)], {"center_point_box": 1}),
    ],
    "MaxRoiPool": [
        (
            [f(2, 3, 8, 9), np.array([[0, 0, 0, 7, 7], [1, 2, 1, 5, 4]], np.float32)],
            {"pooled_shape": [3, 2]},
        ),
        (
            [f(1, 2, 8, 9), np.array([[0, 1, 3, 14, 9], [0, 4, 4, 4, 4]], np.float32)],
            {"pooled_shape": [2, 3], "spatial_scale": 0.5},
        ),
    ],
    "GridSample": [([f(1, 2, 4, 4), f(1, 3, 3, 2, low=-1, high=1)], {"mode": "linear"})],
    "QuantizeLinear": [
        ([f(2, 3), f(3, low=0.1), np.array([1, 2, 3], np.uint8)], {"axis": 1}),
        ([f(2, 3), np.float32(0.001), np.int16(5)], {}),
    ],
    "DequantizeLinear": [
        ([ints(2, 3, dtype=np.int8), f(3, low=0.1), ints(3, dtype=np.int8)], {"axis": 1}),
        ([ints(4, 2, dtype=np.int8), f(2, 2, low=0.1)], {"axis": 0, "block_size": 2}),
        ([ints(3, dtype=np.int32), np.float32(0.1)], {}),
    ],
    "DynamicQuantizeLinear": [([f(3, 4)], {"outputs": 3}), ([f(3, low=0.5)], {"outputs": 3})],
}

_PARAMETERS = [
    pytest.param(op, case, constant, id=f"{op}-{n}-{'constant' if constant else 'computed'}")
    for op, cases in CASES.items()
    for n, case in enumerate(cases)
    for constant in (True, False)
    if constant or len(case[0]) > 1  # with one operand they are the same
]


_ELSEWHERE = {
    *("RandomNormal", "RandomUniform", "RandomNormalLike", "Multinomial"),
    *("SequenceConstruct", "SequenceErase", "SequenceAt", "ConcatFromSequence", "Optional"),
}
"""Subjects of `test_op_random` and `test_op_sequences`."""


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_row_has_a_case_and_every_case_a_row() -> None:
    cases: list[Any] = list(collect_testcases(None))
    suite = {node.op_type for each in cases for node in each.model.graph.node}
    assert set(CASES) <= set(TABLE)
    assert set(TABLE) <= set(CASES) | suite | _ELSEWHERE


@pytest.mark.parametrize(("op", "case", "constant"), _PARAMETERS)
def test_row_agrees_with_the_oracle(op: str, case: Case, constant: bool, row_agrees: Any) -> None:
    operands, attributes = case
    row_agrees(op, operands, attributes, constant)
