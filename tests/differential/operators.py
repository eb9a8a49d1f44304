"""The cases: ops, ranks, attributes and operands at the edge of what integer kernels take."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.differential.boundaries import Case

Array = npt.NDArray[Any]


def _constant(*shape: int, seed: int = 5) -> Array:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape), np.float32)


def _ints(*numbers: int) -> Array:
    return np.asarray(numbers, np.int64)


def operators() -> list[Case]:
    """All cases."""
    return [
        *_pools(), *_softmax(), *_products(), *_convolutions(), *_pairs(), *_unary(), *_movers(),
        *_islands(), *_inside_products(),
    ]  # fmt: skip


def _pools() -> Iterator[Case]:
    image = {1: (2, 3, 9), 2: (2, 3, 9, 9), 3: (2, 3, 5, 5, 5)}
    for rank, shape in image.items():
        plain = {"kernel_shape": [2] * rank}
        yield Case("AveragePool", shape, plain)
        yield Case("MaxPool", shape, plain)
        yield Case("GlobalAveragePool", shape)
        yield Case("GlobalMaxPool", shape)
        for pads, ceil in product(([0] * rank, [1] * rank, [0] * (rank - 1) + [1]), (0, 1)):
            both = {"kernel_shape": [3] * rank, "strides": [2] * rank, "ceil_mode": ceil}
            padded = {**both, "pads": [*pads, *pads[::-1]]}
            yield Case("MaxPool", shape, padded)
            for counted in (0, 1):
                yield Case("AveragePool", shape, {**padded, "count_include_pad": counted})
        dilated = {"kernel_shape": [2] * rank, "dilations": [2] * rank}
        yield Case("MaxPool", shape, dilated)
        yield Case("AveragePool", shape, dilated, opset=19)
        yield Case("AveragePool", shape, {**dilated, "dilations": [1] * rank}, opset=19)
        for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
            given = {"kernel_shape": [3] * rank, "strides": [2] * rank, "auto_pad": auto}
            yield Case("AveragePool", shape, given)
            yield Case("AveragePool", shape, {**given, "count_include_pad": 1})
            yield Case("MaxPool", shape, given)
    yield Case("GlobalAveragePool", (2, 3, 1, 1))
    yield Case("MaxPool", (2, 3, 9, 9), {"kernel_shape": [2, 2]}, outputs=2)
    yield Case("LpPool", (2, 3, 9, 9), {"kernel_shape": [2, 2]})


def _softmax() -> Iterator[Case]:
    for opset, shape in product((11, 13), ((4, 5), (2, 3, 5), (2, 3, 1), (2, 1, 5), (4, 1))):
        for axis in range(len(shape)):
            yield Case("Softmax", shape, {"axis": axis}, opset=opset, batch=axis > 0)
    yield Case("Softmax", (4, 5), {"axis": -1})
    yield Case("LogSoftmax", (4, 5), {"axis": -1})
    yield Case("Hardmax", (4, 5), {"axis": -1})


def _products() -> Iterator[Case]:
    square, wide = (5, 5), (5, 8)
    for turned_a, turned_b in product((0, 1), repeat=2):
        given = {"transA": turned_a, "transB": turned_b}
        for shape in (square, wide):
            inner = shape[0] if turned_a else shape[1]
            weight = _constant(6, inner) if turned_b else _constant(inner, 6)
            rows = shape[1] if turned_a else shape[0]
            free = not turned_a
            yield Case("Gemm", shape, given, (weight,), batch=free)
            yield Case("Gemm", shape, given, (weight, _constant(6)), batch=free)
            if not turned_a and not turned_b:
                for extents in ((), (1,), (1, 1), (1, 6), (rows, 1), (rows, 6)):
                    held = len(extents) < 2 or extents[0] == 1
                    yield Case("Gemm", shape, given, (weight, _constant(*extents)), batch=held)
    weight, bias = _constant(8, 6), _constant(6)
    for alpha, beta in ((0.5, 1.0), (1.0, 0.5), (0.5, 0.5), (1.0, 0.0), (0.0, 1.0)):
        yield Case("Gemm", wide, {"alpha": alpha, "beta": beta}, (weight, bias))
        yield Case("Gemm", wide, {"alpha": alpha, "beta": beta}, (weight,))
    yield Case("Gemm", square, {"transB": 1}, ("Y",), batch=False)
    yield Case("Gemm", square, {}, ("Y", _constant(5)), batch=False)
    yield Case("Gemm", square, {}, (_constant(5, 5), "Y"), batch=False)
    yield Case("Gemm", square, {}, (_constant(7, 5),), first=1, batch=False)
    yield from _matrix_products()


def _matrix_products() -> Iterator[Case]:
    for shape, weight in (
        ((4, 5), (5, 6)), ((4, 5), (5,)), ((2, 4, 5), (5, 6)), ((2, 4, 5), (2, 5, 6)),
        ((2, 4, 5), (1, 5, 6)), ((4, 5), (3, 5, 6)), ((2, 3, 4, 5), (5, 6)), ((2, 3, 4, 5), (5,)),
        ((2, 3, 4, 5), (3, 5, 6)), ((4, 5), (5, 1)), ((4, 1), (1, 6)), ((2, 3, 4, 5), (2, 1, 5, 6)),
    ):  # fmt: skip
        free = len(weight) < 3 or weight[0] == 1
        yield Case("MatMul", shape, {}, (_constant(*weight),), batch=free)
    for shape, weight in (
        ((4, 5), (6, 4)), ((4, 5), (4,)), ((2, 4, 5), (6, 4)), ((2, 4, 5), (2, 6, 4)),
        ((2, 3, 4, 5), (6, 4)), ((4, 5), (1, 4)), ((2, 4, 5), (4,)),
    ):  # fmt: skip
        yield Case("MatMul", shape, {}, (_constant(*weight),), first=1, batch=False)
    for shape in ((5, 5), (2, 5, 5), (2, 3, 5, 5)):
        yield Case("MatMul", shape, {}, ("Y",), batch=len(shape) > 2)
        yield Case("MatMul", shape, {}, ("X",), batch=len(shape) > 2)
        yield Case("MatMul", shape, {}, ("W",), batch=len(shape) > 2)
    yield Case("Einsum", (4, 5), {"equation": "ij,jk->ik"}, (_constant(5, 6),))


def _convolutions() -> Iterator[Case]:
    images = {1: (2, 4, 9), 2: (2, 4, 9, 9), 3: (2, 4, 5, 5, 5)}
    for rank, shape in images.items():
        for group, taps, bias in product((1, 2, 4), (1, 3), (False, True)):
            weight = _constant(8, 4 // group, *[taps] * rank)
            operands = (weight, _constant(8)) if bias else (weight,)
            yield Case("Conv", shape, {"group": group}, operands)
        weight = _constant(8, 4, *[3] * rank)
        for given in (
            {"pads": [1] * (2 * rank)}, {"pads": [0] * rank + [1] * rank}, {"strides": [2] * rank},
            {"dilations": [2] * rank}, {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"},
            {"auto_pad": "VALID"}, {"strides": [2] * rank, "auto_pad": "SAME_UPPER"},
        ):  # fmt: skip
            yield Case("Conv", shape, given, (weight,))
        for group, bias in product((1, 2), (False, True)):
            weight = _constant(4, 6 // group, *[3] * rank)
            operands = (weight, _constant(6)) if bias else (weight,)
            yield Case("ConvTranspose", shape, {"group": group}, operands)
        weight = _constant(4, 6, *[3] * rank)
        for given in (
            {"pads": [1] * (2 * rank)}, {"strides": [2] * rank}, {"dilations": [2] * rank},
            {"strides": [2] * rank, "output_padding": [1] * rank},
            {"strides": [2] * rank, "output_shape": [2 * shape[2]] * rank},
            {"strides": [2] * rank, "auto_pad": "SAME_UPPER"},
            {"strides": [2] * rank, "auto_pad": "SAME_LOWER"},
        ):  # fmt: skip
            yield Case("ConvTranspose", shape, given, (weight,))


def _pairs() -> Iterator[Case]:
    shape = (2, 3, 5)
    for op in ("Add", "Mul", "Sub", "Div", "Max", "Min", "Pow", "PRelu"):
        for other in ((), (1,), (5,), (3, 1), (1, 3, 5), (2, 3, 5)):
            held = len(other) < 3 or other[0] == 1
            stored = np.asarray(np.abs(_constant(*other)) + 0.5, np.float32)
            if op == "Pow":
                yield Case(op, shape, {}, (np.full(other, 2, np.float32),), batch=held)
            else:
                yield Case(op, shape, {}, (stored,), batch=held)
        if op in ("Add", "Mul", "Sub"):
            yield Case(op, shape, {}, (_constant(5),), first=1)
        if op not in ("Div", "Pow", "PRelu"):
            for computed in ("X", "Y", "W"):
                yield Case(op, shape, {}, (computed,))
    for op in ("Add", "Mul"):
        yield Case(op, shape, {}, ("Y",), inner=False)
        yield Case(op, (4,), {}, ("Y",), inner=False)
    yield Case("Sum", shape, {}, ("Y", "W"))
    yield Case("Where", shape, {}, (np.asarray([[True], [False], [True]]), "Y"), first=1)
    yield Case("Where", shape, {}, (np.asarray([[True], [False], [True]]), _constant(5)), first=1)
    for axis in (0, 1, 2, -1):
        for others in (
            (),
            ("Y",),
            ("X",),
            ("Y", "W"),
            (_constant(2, 3, 5),),
            ("Y", _constant(2, 3, 5)),
        ):
            fixed = axis == 0 or any(isinstance(each, np.ndarray) for each in others)
            yield Case("Concat", shape, {"axis": axis}, others, batch=not fixed)


def _unary() -> Iterator[Case]:
    for shape in ((4, 5), (2, 3, 5), (2, 3, 4, 5)):
        for op in ("Sigmoid", "Relu", "Tanh", "Erf", "Exp", "Neg", "Abs", "HardSwish", "Softplus"):
            yield Case(op, shape)
    shape = (2, 3, 5)
    yield Case("Sigmoid", (5,), inner=False)
    for alpha in (0.0, 0.01, 1.0, 1.5, -0.1):
        yield Case("LeakyRelu", shape, {"alpha": alpha})
    yield Case("HardSigmoid", shape)
    yield Case("Elu", shape)
    yield Case("Gelu", shape, opset=20)
    yield Case("ThresholdedRelu", shape, {"alpha": 0.2})


def _bounds() -> Iterator[tuple[Any, ...]]:
    for low, high in ((0, 6), (0, 1), (-1, 1), (-0.3, 0.3), (None, 1), (0, None), (-1, None),
                      (None, None), (0.25, 1), (-1, -0.25), (0, 0.1), (-1, 0)):  # fmt: skip
        ends = (None if each is None else np.asarray(each, np.float32) for each in (low, high))
        yield tuple(ends)


def _inside_products() -> Iterator[Case]:
    """Activations right behind a weighted op: absorbed or not."""
    for ends in _bounds():
        yield Case("Clip", (4, 5), {}, ends)
        yield Case("Clip", (2, 3, 4, 5), {}, ends)


def _movers() -> Iterator[Case]:
    shape = (2, 4, 6)
    image = (2, 4, 6, 6)
    yield Case("Identity", shape)
    yield Case("Reshape", shape, {}, (_ints(0, -1),))
    yield Case("Reshape", shape, {}, (_ints(-1, 3, 2),))
    yield Case("Flatten", shape)
    yield Case("Flatten", shape, {"axis": 2})
    yield Case("Squeeze", (2, 1, 6), {}, (_ints(1),))
    yield Case("Unsqueeze", shape, {}, (_ints(1),))
    yield Case("Transpose", shape, {"perm": [0, 2, 1]})
    yield Case("Transpose", shape, {"perm": [2, 1, 0]})
    for start, end, axis, step in ((1, 3, 1, 1), (0, 9, 2, 2), (-1, -7, 2, -1), (2, 2, 1, 1)):
        yield Case("Slice", shape, {}, (_ints(start), _ints(end), _ints(axis), _ints(step)))
    yield Case("Expand", (2, 1, 6), {}, (_ints(1, 4, 1),))
    yield Case("Tile", shape, {}, (_ints(1, 2, 1),))
    for indices in (_ints(3, 0), np.asarray(1, np.int64), np.asarray([[0, 1]], np.int64)):
        yield Case("Gather", shape, {"axis": 1}, (indices,))
    yield Case("GatherElements", shape, {"axis": 1}, (np.zeros((2, 2, 6), np.int64),), batch=False)
    yield Case("GatherND", shape, {}, (np.asarray([[1, 3]], np.int64),), batch=False)
    for mode in ("DCR", "CRD"):
        yield Case("DepthToSpace", image, {"blocksize": 2, "mode": mode})
    yield Case("SpaceToDepth", image, {"blocksize": 2})
    for mode, value in product(("constant", "edge", "reflect", "wrap"), (None, 0.0, 1.5, -9.0)):
        if mode == "constant" or value is None:
            given = () if value is None else (np.asarray(value, np.float32),)
            opset = 19 if mode == "wrap" else 17
            operands = (_ints(0, 1, 1, 0, 0, 1), *given)
            yield Case(
                "Pad", shape, {"mode": mode}, operands, opset=opset, batch=mode == "constant"
            )
    yield Case("Pad", shape, {}, (_ints(0, 0, -1, 0, 0, 0),))
    for parts in ([2, 2], [1, 3], [4]):
        operands = (_ints(*parts),)
        yield Case("Split", shape, {"axis": 1}, operands, outputs=len(parts))
    yield Case("Split", shape, {"axis": 2, "num_outputs": 3}, outputs=3, opset=18)
    yield Case("Split", shape, {"axis": 1}, outputs=2, opset=13)
    for mode, way in product(("nearest", "linear", "cubic"), ("half_pixel", "asymmetric")):
        scales = np.asarray([1, 1, 2, 2], np.float32)
        ways = {"mode": mode, "coordinate_transformation_mode": way}
        yield Case("Resize", image, ways, (None, scales))
    for op in ("ReduceMax", "ReduceMin"):
        yield Case(op, shape, {"keepdims": 1, "axes": [1]})
        yield Case(op, shape, {"keepdims": 0, "axes": [2]})
    yield Case(
        "ScatterND", shape, {}, (np.zeros((1, 1), np.int64), _constant(1, 4, 6)), batch=False
    )
    yield Case("TopK", shape, {"axis": 2}, (_ints(2),), outputs=2)


def _islands() -> Iterator[Case]:
    """Ops without a quantized form between ones that have."""
    shape = (2, 4, 6)
    image = (2, 4, 6, 6)
    for p, axis in product((1, 2), (1, -1)):
        yield Case("LpNormalization", shape, {"p": p, "axis": axis})
    yield Case("LayerNormalization", shape, {"axis": -1}, (_constant(6), _constant(6)))
    yield Case("InstanceNormalization", image, {}, (_constant(4), _constant(4)))
    positive = np.abs(_constant(4)) + np.float32(0.5)
    yield Case(
        "BatchNormalization", image, {}, (_constant(4), _constant(4), _constant(4), positive)
    )
    yield Case("LRN", image, {"size": 3})
    for op in ("ReduceMean", "ReduceSum", "ReduceL2"):
        axes = {} if op == "ReduceSum" else {"axes": [1]}
        operands = (_ints(1),) if op == "ReduceSum" else ()
        yield Case(op, shape, {"keepdims": 1, **axes}, operands)
    yield Case("CumSum", shape, {}, (np.asarray(1, np.int64),))
    yield Case("ArgMax", shape, {"axis": 2, "keepdims": 0})
    yield Case("MeanVarianceNormalization", image)
