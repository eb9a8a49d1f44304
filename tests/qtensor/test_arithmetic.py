"""QTensor arithmetic, against ONNX Runtime's integer kernels and Python's own integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

import qcompiler as qc
from qcompiler.errors import ConfigurationError
from qcompiler.execution.integer.operand import QuantizedOperand
from qcompiler.execution.integer.reference import reference
from tests.oracle import unoptimized

Array = np.ndarray[Any, Any]
Parts = Sequence[Array]


def _drawn(seed: int, *shape: int, **options: Any) -> qc.QTensor:
    x = (2 * np.random.default_rng(seed).standard_normal(shape) + 0.3).astype(np.float32)
    return qc.quantize(x, **({"dtype": "uint8"} | options))


def _parts(q: qc.QTensor) -> list[Array]:
    return [
        q.data,
        np.asarray(q.params.scale, np.float32),
        q.params.zero_point.astype(q.data.dtype),
    ]


def _onnxruntime(op: str, inputs: Parts, domain: str = "", **attributes: Any) -> Array:
    """One operator on ONNX Runtime, between uint8 operands and results."""
    names = [f"i{index}" for index in range(len(inputs))]
    node = helper.make_node(op, names, ["y"], domain=domain, **attributes)
    constants = [
        onnx.numpy_helper.from_array(each, name) for each, name in zip(inputs, names, strict=True)
    ]
    y = helper.make_tensor_value_info("y", onnx.TensorProto.UINT8, None)
    graph = helper.make_graph([node], "g", [], [y], constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    return unoptimized(model, {})[0]


def _output(q: qc.QTensor) -> list[Array]:
    return _parts(q)[1:]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("channels", [False, True])
def test_matmul_is_onnxruntimes(seed: int, channels: bool) -> None:
    rows, depth, columns = (int(each) for each in np.random.default_rng(seed).integers(1, 60, 3))
    a = _drawn(seed, rows, depth)
    given = {"granularity": "channel", "axis": 1} if channels else {}
    b = _drawn(seed + 50, depth, columns, dtype="int8", symmetric=True, **given)
    found = a @ b
    assert found.zero_point != a.zero_point or found.scale != a.scale  # its own range
    wanted = _onnxruntime("QLinearMatMul", [*_parts(a), *_parts(b), *_output(found)])
    np.testing.assert_array_equal(found.integers, wanted)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("groups", [1, 2])
def test_conv2d_is_onnxruntimes(seed: int, groups: int) -> None:
    rng = np.random.default_rng(seed)
    stride, padding, dilation = (int(rng.integers(*ends)) for ends in ((1, 3), (0, 3), (1, 3)))
    x = _drawn(seed, 2, 4, 11, 9)
    weight = _drawn(
        seed + 9, 6, 4 // groups, 3, 2, dtype="int8", symmetric=True, granularity="channel"
    )
    bias = rng.standard_normal(6).astype(np.float32)
    like = qc.quantize([-9.0, 9.0], dtype="uint8")
    found = x.conv2d(
        weight,
        bias,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        output=like,
    )
    step = x.params.scale * weight.params.scale
    steps = np.rint(bias.astype(np.float64) / step.astype(np.float64)).astype(np.int32)
    wanted = _onnxruntime(
        "QLinearConv",
        [*_parts(x), *_parts(weight), *_output(like), steps],
        strides=[stride] * 2,
        pads=[padding] * 4,
        dilations=[dilation] * 2,
        group=groups,
    )
    np.testing.assert_array_equal(found.integers, wanted)


@pytest.mark.parametrize("op", ["add", "mul"])
@pytest.mark.parametrize("shapes", [((3, 4), (3, 4)), ((3, 4), (4,)), ((2, 1, 5), (4, 1))])
def test_elements_are_onnxruntimes(op: str, shapes: tuple[Any, Any]) -> None:
    a, b = (_drawn(index, *shape) for index, shape in enumerate(shapes))
    found = getattr(a, op)(b)
    names = {"add": "QLinearAdd", "mul": "QLinearMul"}
    wanted = _onnxruntime(
        names[op], [*_parts(a), *_parts(b), *_output(found)], domain="com.microsoft"
    )
    np.testing.assert_array_equal(found.integers, wanted)
    np.testing.assert_array_equal((a + b if op == "add" else a * b).integers, wanted)


@pytest.mark.parametrize(
    ("op", "attributes", "shapes"),
    [
        ("MatMul", {}, ((3, 17), (17, 5))),
        ("MatMul", {}, ((2, 3, 17), (2, 17, 5))),
        ("MatMul", {}, ((17,), (17, 5))),
        ("Conv", {"pads": [1, 1, 1, 1]}, ((2, 3, 8, 8), (4, 3, 3, 3))),
        ("Conv", {"pads": [0, 0], "strides": [2]}, ((2, 3, 9), (4, 3, 2))),
    ],
)
@pytest.mark.parametrize("bits", [(2, 2), (4, 8), (8, 4), (16, 8), (16, 16)])
def test_products_of_any_width_are_exact_integers(
    op: str, attributes: Mapping[str, Any], shapes: tuple[Any, Any], bits: tuple[int, int]
) -> None:
    """Sums by Python's integers through torch's int64; the output rule is one float32 product."""
    a = _drawn(1, *shapes[0], bits=bits[0], dtype=None)
    b = _drawn(2, *shapes[1], bits=bits[1], dtype=None)
    like = qc.quantize([-20.0, 30.0])
    left, right = (
        torch.from_numpy(q.data.astype(np.int64) - int(q.params.zero_point)) for q in (a, b)
    )
    if op == "MatMul":
        found, sums = a.matmul(b, output=like), torch.matmul(left, right)
    else:
        spatial = left.ndim - 2
        stride, pad = attributes.get("strides", [1])[0], attributes["pads"][0]
        found = a.conv2d(b, stride=stride, padding=pad, output=like)
        convolve = torch.nn.functional.conv1d if spatial == 1 else torch.nn.functional.conv2d
        sums = convolve(left, right, stride=stride, padding=pad)
    step = np.float32(a.params.scale * b.params.scale) / like.params.scale
    wanted = np.rint(sums.numpy().astype(np.float32) * step) + like.zero_point
    np.testing.assert_array_equal(found.integers, np.clip(wanted, -128, 127))
    if max(bits) <= 8:
        operands = [QuantizedOperand(q.data, q.params) for q in (a, b)]
        own = reference(op, attributes, operands[:1], operands[1], None, like.params)
        np.testing.assert_array_equal(found.data, own)


def test_a_wide_bias_is_not_cut_to_32_bits() -> None:
    a = qc.quantize([[1.0, -1.0]], 16)
    b = qc.quantize([[1.0], [-1.0]], 16)
    found = a.matmul(b, bias=[100.0]).dequantize()
    assert found[0][0] == pytest.approx(102.0, rel=1e-3)


def test_cat_brings_every_part_to_the_result() -> None:
    parts = [_drawn(1, 2, 3), _drawn(2, 2, 5), _drawn(3, 2, 1)]
    found = qc.cat(parts, axis=1)
    operands = [each for q in parts for each in _parts(q)]
    wanted = _onnxruntime(
        "QLinearConcat", [*_output(found), *operands], domain="com.microsoft", axis=1
    )
    np.testing.assert_array_equal(found.integers, wanted)


def test_cat_of_one_scale_moves_integers() -> None:
    a = _drawn(1, 2, 3)
    b = qc.quantize(
        np.ones((1, 3), np.float32), dtype="uint8", scale=a.scale, zero_point=a.zero_point
    )
    found = qc.cat([a, b])
    np.testing.assert_array_equal(found.integers, np.concatenate([a.integers, b.integers]))
    assert found.scale == a.scale


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 16])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"granularity": "channel"},
        {"granularity": "group", "group_size": 3},
        {"symmetric": True},
    ],
)
def test_relu_is_on_the_integers(bits: int, given: dict[str, Any]) -> None:
    width = next(each for each in (2, 4, 8, 16) if each >= bits)
    for kind in (f"int{width}", f"uint{width}"):
        q = _drawn(4, 3, 8, bits=bits, **(given | {"dtype": kind}))
        np.testing.assert_array_equal(q.relu().dequantize(), np.maximum(q.dequantize(), 0))
        assert q.relu().params.same_as(q.params)


def test_subtraction_and_requantization() -> None:
    a, b = _drawn(1, 4, 6), _drawn(2, 6)
    wide = qc.quantize([-30.0, 30.0], 16)
    np.testing.assert_allclose(
        a.sub(b, output=wide).dequantize(), a.dequantize() - b.dequantize(), atol=wide.scale / 2
    )
    again = a.requantize(b)
    held = b.params.representable
    np.testing.assert_allclose(
        again.dequantize(), np.clip(a.dequantize(), held.low, held.high), atol=b.scale / 2 + 1e-6
    )


@pytest.mark.parametrize("channels", [False, True])
def test_channels_in_sums_are_rounded_once(channels: bool) -> None:
    a = _drawn(1, 3, 4, granularity="channel")
    b = _drawn(2, 3, 4, **({"granularity": "channel", "axis": 1} if channels else {}))
    like = qc.quantize([-9.0, 9.0])
    found = a.add(b, output=like)
    exact = (a.dequantize() + b.dequantize()) / np.float32(like.scale)
    np.testing.assert_array_equal(
        found.integers, np.clip(np.rint(exact) + like.zero_point, -128, 127)
    )


@pytest.mark.parametrize("given", [{}, {"granularity": "channel", "axis": 1}])
def test_moving_axes_moves_scales(given: dict[str, Any]) -> None:
    q = _drawn(1, 2, 6, 4, **given)
    real = q.dequantize()
    np.testing.assert_array_equal(q.transpose(1, 0, 2).dequantize(), real.transpose(1, 0, 2))
    np.testing.assert_array_equal(q.transpose((-1, 0, 1)).dequantize(), real.transpose(2, 0, 1))
    np.testing.assert_array_equal(q.T.dequantize(), real.T)
    np.testing.assert_array_equal(q.reshape(2, 6, 2, -1).dequantize(), real.reshape(2, 6, 2, 2))
    np.testing.assert_array_equal(q.reshape([2, 6, 4]).dequantize(), real)


def test_moving_axes_moves_groups() -> None:
    q = _drawn(1, 3, 10, granularity="group", group_size=4)
    np.testing.assert_array_equal(q.T.dequantize(), q.dequantize().T)


def test_flattening() -> None:
    q = _drawn(1, 2, 3, 4)
    assert q.flatten().shape == (24,)
    assert q.flatten(1).shape == (2, 12)
    assert qc.quantize(3.0).flatten().shape == (1,)


def test_torch_stays_torch() -> None:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    found = qc.quantize(x, 16).conv2d(qc.quantize(weight, 16, granularity="channel"), padding=1)
    wanted = torch.nn.functional.conv2d(x, weight, padding=1)
    assert isinstance(found.dequantize(), torch.Tensor)
    torch.testing.assert_close(found.dequantize(), wanted, atol=3e-3, rtol=0)


_Q = qc.quantize(np.ones((2, 3), np.float32))
_HUGE = qc.quantize(np.full((2, 2), 3e38, np.float32))


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: _Q + 1.0, "float add QTensor"),
        (lambda: 1.0 - _Q, "float - QTensor"),
        (lambda: np.ones(3) * _Q, r"ndarray \* QTensor"),
        (lambda: torch.ones(3) @ _Q, "Tensor @ QTensor"),
        (lambda: _Q @ _Q, "not defined"),
        (lambda: _Q + qc.quantize([1.0, 2.0]), "not defined"),
        (lambda: _Q.matmul(_Q.T, bias=[1.0]), "bias"),
        (lambda: _Q.matmul(_Q.T, output=(1.0,)), "is no `output`"),
        (lambda: _Q.matmul(_Q.T, output="like"), "is no `output`"),
        (lambda: _Q.add(_Q, output=(0.0, 0)), "positive"),
        (lambda: _Q.add(_Q, output=(1.0, 500)), "no integer"),
        (lambda: _Q.add(_Q, output=_drawn(1, 2, 3, granularity="channel")), "one scale"),
        (lambda: _Q.requantize(None), "nothing says"),
        (lambda: _Q.matmul(_drawn(1, 3, 4, granularity="channel")), "per output channel"),
        (lambda: _drawn(1, 3, 4, granularity="channel").matmul(_drawn(2, 4, 2)), "one scale"),
        (
            lambda: _Q.matmul(_drawn(1, 3, 4, granularity="group", group_size=2, axis=0)),
            "per output channel",
        ),
        (lambda: _Q.matmul(qc.quantize(np.ones((3, 2)), kind="codebook")), "indices into a table"),
        (lambda: qc.quantize(np.ones(3), kind="log2").relu(), "indices into a table"),
        (lambda: _Q.conv2d(_Q), "no convolution"),
        (lambda: _drawn(1, 1, 3, 4, 4).conv2d(_drawn(2, 2, 2, 3, 3)), "does not fit data"),
        (lambda: _drawn(1, 1, 3, 4, 4).conv2d(_drawn(2, 2, 3, 3, 3), groups=3), "does not fit"),
        (lambda: _drawn(1, 1, 3, 4, 4).conv2d(_drawn(2, 2, 3, 5, 5)), "not defined"),
        (lambda: _drawn(1, 1, 3, 4, 4).conv2d(_drawn(2, 2, 3, 3, 3), stride=0), "stride 0"),
        (lambda: _drawn(1, 1, 3, 4, 4).conv2d(_drawn(2, 2, 3, 3, 3), padding=(1,)), "padding"),
        (lambda: qc.cat([]), "no quantized tensors"),
        (lambda: qc.cat([_Q, _Q], axis=2), "no axis 2"),
        (lambda: qc.cat([_Q, _Q], axis="rows"), "no axis 'rows'"),  # type: ignore[arg-type]
        (lambda: _HUGE @ _HUGE, "leaves float32"),
        (lambda: _HUGE + _HUGE, "leaves float32"),
        (lambda: _HUGE * _HUGE, "leaves float32"),
        (lambda: _drawn(1, 3, 4, granularity="channel")[0], "several scales"),
        (lambda: np.asarray(_Q), "two arrays in one"),
        (lambda: qc.cat([_Q, _Q.T]), "not defined"),
        (lambda: _Q.reshape(5), "cannot become"),
        (lambda: _Q.reshape("ab"), "cannot become"),
        (lambda: _drawn(1, 3, 4, granularity="channel").reshape(12), "is torn"),
        (lambda: _Q.transpose(0, 0), "no order"),
        (lambda: _Q.transpose(0, 2), "no order"),
        (lambda: _Q.flatten(2), "no axis 2"),
        ((_Q + _Q).error, "nothing to compare with"),
    ],
)
def test_mistakes_are_told(call: Callable[[], object], part: str) -> None:
    with pytest.raises(ConfigurationError, match=part):
        call()


def test_sums_that_would_wrap_around_are_refused() -> None:
    """70 000 products of 255 * 127 leave int32; kernels would return another number in silence."""
    a = qc.quantize(np.ones((1, 70_000), np.float32), dtype="uint8", scale=1 / 255)
    b = qc.quantize(np.ones((70_000, 1), np.float32), dtype="uint8", scale=1 / 255)
    with pytest.raises(ConfigurationError, match="accumulator of 32 bits"):
        a @ b
    with pytest.raises(ConfigurationError, match="accumulator of 32 bits"):
        _Q.matmul(_Q.T, bias=[1e9, 0.0])
    wide = qc.quantize(np.ones((70_000, 1), np.float32), 16)
    assert (a @ wide).dequantize()[0, 0] == pytest.approx(70_000, rel=1e-2)


def test_parts_keep_the_scale() -> None:
    q = _drawn(1, 3, 4)
    for index in (1, slice(None, None, -2), (..., 2), (0, 0), [2, 0]):
        np.testing.assert_array_equal(q[index].dequantize(), q.dequantize()[index])
    assert [each.shape for each in q] == [(4,)] * 3
    assert qc.quantize([255.0, 0.0])[0].integers == 127


@pytest.mark.parametrize(
    "wrong",
    [lambda q: q + 1.0, lambda q: 2 * q, lambda q: 1 - q, lambda q: -q, lambda q: q / 2,
     lambda q: np.float32(2) / q],
)  # fmt: skip
def test_what_is_no_integer_arithmetic_is_refused(wrong: Callable[[qc.QTensor], object]) -> None:
    with pytest.raises(ConfigurationError, match="is no integer arithmetic"):
        wrong(_drawn(1, 3, 4))
