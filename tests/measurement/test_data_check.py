"""Calibration data that cannot be right: each kind is told, and good data is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import qcompiler as qc
from qcompiler.errors import LegalityError
from qcompiler.frontends import load
from qcompiler.ir.diagnostics import Severity
from qcompiler.ir.signature import Feed
from qcompiler.measurement.data_check import data_findings

N = helper.make_node
SLOW = pytest.mark.slow
Spoil = Callable[[np.ndarray], np.ndarray]


@pytest.fixture
def network(rng: np.random.Generator) -> onnx.ModelProto:
    """Conv, BatchNormalization trained on images in 0..1, Relu, Conv."""
    first = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    sums, squares = first.sum((1, 2, 3)), np.square(first).sum((1, 2, 3))
    stored = {
        "w": first,
        "v": rng.normal(size=(2, 4, 1, 1)).astype(np.float32),
        "one": np.ones(4, np.float32),
        "zero": np.zeros(4, np.float32),
        "mean": (sums / 2).astype(np.float32),  # of uniform numbers: mean 1/2, variance 1/12
        "var": (squares / 12).astype(np.float32),
    }
    nodes = [
        N("Conv", ["x", "w"], ["a"]),
        N("BatchNormalization", ["a", "one", "zero", "mean", "var"], ["b"], name="bn"),
        N("Relu", ["b"], ["c"]),
        N("Conv", ["c", "v"], ["y"], name="head"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    constants = [numpy_helper.from_array(each, name) for name, each in stored.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def images(rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.random((4, 3, 8, 8)).astype(np.float32) for _ in range(4)]


def rules(network: onnx.ModelProto, images: list[np.ndarray]) -> dict[str, Severity]:
    feeds: list[Feed] = [{"x": each} for each in images]
    return {each.rule: each.severity for each in data_findings(load(network), feeds)}


def test_good_data_has_no_findings(network: onnx.ModelProto, images: list[np.ndarray]) -> None:
    assert rules(network, images) == {}


@pytest.mark.parametrize(
    ("rule", "spoil"),
    [
        ("DATA01", lambda x: 0 * x),
        ("DATA04", lambda x: 0 * x),
        ("DATA04", lambda x: np.round(255 * x)),
        ("DATA04", lambda x: (x - 0.5) / 0.01),
    ],
)
def test_bad_data_is_told(
    network: onnx.ModelProto, images: list[np.ndarray], rule: str, spoil: Spoil
) -> None:
    assert rules(network, [spoil(each) for each in images])[rule] is Severity.WARNING


def test_the_missing_division_is_named(network: onnx.ModelProto, images: list[np.ndarray]) -> None:
    feeds: list[Feed] = [{"x": np.round(255 * each)} for each in images]
    (found,) = data_findings(load(network), feeds)
    assert "was it to be divided by 255?" in found.message
    assert found.node == "bn"


def test_repeated_and_few_samples(network: onnx.ModelProto, images: list[np.ndarray]) -> None:
    assert rules(network, images[:1] * 3)["DATA02"] is Severity.WARNING
    assert rules(network, images[:1])["DATA02"] is Severity.INFO


def test_few_samples_are_counted_as_they_were_given_and_told_with_what_they_miss(
    network: onnx.ModelProto, images: list[np.ndarray], rng: np.random.Generator
) -> None:
    """Of four that were kept of six; the share is that of draws of any distribution."""
    feeds: list[Feed] = [{"x": each[:1]} for each in images]
    (few,) = data_findings(load(network), feeds, seen=6)
    assert few.message.startswith("there are only 6 different calibration samples: of others")
    share = float(few.message.split("them, ")[1].split("%")[0]) / 100
    draws = rng.exponential(size=(20000, 7))
    beyond = (draws[:, 0] < draws[:, 1:].min(1)) | (draws[:, 0] > draws[:, 1:].max(1))
    assert abs(beyond.mean() - share) < 0.02  # 6 standard deviations of the mean of 20 000
    assert data_findings(load(network), feeds, seen=64) == []


def test_one_sample_that_sets_the_range(network: onnx.ModelProto, images: list[np.ndarray]) -> None:
    images[2] = 100 * images[2]
    assert rules(network, images)["DATA03"] is Severity.WARNING


def test_statistics_of_a_new_layer_are_no_measure(
    network: onnx.ModelProto, images: list[np.ndarray]
) -> None:
    for each in network.graph.initializer:
        if each.name in ("mean", "var"):
            fresh = np.full(4, each.name == "var", np.float32)
            each.CopyFrom(numpy_helper.from_array(fresh, each.name))
    assert rules(network, [np.round(255 * each) for each in images]) == {}


def test_findings_come_before_all_else_in_the_report(
    network: onnx.ModelProto, images: list[np.ndarray]
) -> None:
    blank = [{"x": 0 * each} for each in images]
    compiled = qc.compile(network, calibration=blank, recipe="fast", budget=0.1)
    assert "the calibration data is constant: 'x' is 0 everywhere" in compiled.report.text()[:400]


_MODULE = {"onnxruntime": "onnxruntime", "openvino": "openvino", "executorch": "executorch"}
"""What an engine needs; the others but TensorRT's are torch's."""
_OTHERS = ("qnnpack", "onednn", "x86", "tensorrt", "executorch")
ENGINES = ["onnxruntime", "openvino", "fbgemm", *(pytest.param(t, marks=SLOW) for t in _OTHERS)]


def _needs(target: str) -> None:
    pytest.importorskip(_MODULE.get(target, "onnxruntime" if target == "tensorrt" else "torch"))


@pytest.mark.parametrize("held", [np.nan, np.inf])
@pytest.mark.parametrize("target", ENGINES)
def test_weights_that_are_no_numbers(
    network: onnx.ModelProto, images: list[np.ndarray], held: float, target: str
) -> None:
    """Fixed schemes name the weight; `auto` keeps its region float and says so."""
    _needs(target)
    (weight,) = [each for each in network.graph.initializer if each.name == "v"]
    array = numpy_helper.to_array(weight).copy()
    array[0, 0] = held
    weight.CopyFrom(numpy_helper.from_array(array, "v"))
    given = {"calibration": [{"x": each} for each in images], "recipe": "fast", "budget": 0.2}
    schemes = ("int8", "dynamic", "int8-weights") if target == "onnxruntime" else ("int8",)
    for scheme in schemes:
        with pytest.raises(LegalityError, match="weights that are no numbers") as caught:
            qc.compile(network, target, scheme=scheme, **given)  # type: ignore[arg-type]
        assert "'v'" in str(caught.value)
    compiled = qc.compile(network, target, **given)  # type: ignore[arg-type]
    assert compiled.plan.precision("head") == "float32"
    assert "WEIGHT01" in [each.rule for each in compiled.report.diagnostics]


def _masked(rng: np.random.Generator) -> tuple[onnx.ModelProto, list[Feed]]:
    """Attention's scores with a mask as an input: -inf where nothing may be seen."""
    w = rng.normal(size=(8, 8)).astype(np.float32)
    nodes = [
        N("MatMul", ["x", "w"], ["a"], name="in"),
        N("Add", ["a", "mask"], ["s"]),
        N("Softmax", ["s"], ["p"]),
        N("MatMul", ["p", "w"], ["y"], name="out"),
    ]
    ends = {"x": [4, 8], "mask": [4, 8], "y": [4, 8]}
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in ends.items()]
    graph = helper.make_graph(nodes, "g", infos[:2], infos[2:], [numpy_helper.from_array(w, "w")])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    mask = np.where(np.tri(4, 8, 3) > 0, 0, -np.inf).astype(np.float32)
    feeds: list[Feed] = [
        {"x": rng.normal(size=(4, 8)).astype(np.float32), "mask": mask} for _ in range(4)
    ]
    return made, feeds


def test_an_infinite_mask_bars_its_own_tensor_only(rng: np.random.Generator) -> None:
    made, feeds = _masked(rng)
    compiled = qc.compile(made, calibration=feeds, scheme="int8", recipe="fast")
    assert compiled.plan.precision("out") == "int8"
    assert compiled.plan.precision("in") != "float32"


@pytest.mark.parametrize("scheme", ["int8", "auto"])
@pytest.mark.parametrize("target", ENGINES)
def test_an_infinite_mask_is_fed_to_every_engine(
    target: str, scheme: str, rng: np.random.Generator
) -> None:
    """Noise of products of 8 values in 8 bits: -20 dB leave a factor of ten to what they round."""
    _needs(target)
    if (target, scheme) == ("openvino", "int8"):
        pytest.skip("rule OV05: products beside an Add of what is computed stay float there")
    made, feeds = _masked(rng)
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    compiled = qc.compile(made, target, calibration=feeds, scheme=scheme, recipe="fast", budget=0.2)
    for feed in feeds:
        (want,) = session.run(None, feed)
        (have,) = compiled.run(feed)
        assert np.isfinite(want).all()
        assert np.square(have - want).sum() < 0.01 * np.square(want).sum()


SEQUENCE = """<ir_version: 10, opset_import: ["" : 21]>
g (seq(float[4]) s, string[2] t) => (float[4] y, string[2] u)
{ i = Constant<value_int = 0>()  y = SequenceAt(s, i)  u = Identity(t) }"""


def test_sequences_and_strings_are_compared_by_content() -> None:
    program = load(onnx.parser.parse_model(SEQUENCE))

    def feed(number: float, text: str) -> Feed:
        array = np.full(4, number, np.float32)
        return {"s": [array, array], "t": np.array([text, "b"], object)}  # type: ignore[dict-item]

    same = data_findings(program, [feed(1, "a"), feed(1, "a")])
    assert "all 2 calibration samples are the same one" in [each.message for each in same]
    for other in (feed(2, "a"), feed(1, "c")):
        found = data_findings(program, [feed(1, "a"), other])
        assert not any("the same one" in each.message for each in found)


def test_an_optional_input_that_some_samples_lack(network: onnx.ModelProto) -> None:
    """What is there is looked at: constant where given, and one sample that reaches further."""
    source, rng = load(network), np.random.default_rng(4)
    present = [rng.random((1, 2), np.float32) for _ in range(5)]
    present[3] *= 100
    feeds: list[Any] = [{"p": each} for pair in present for each in (None, pair)]
    found = {each.rule: each.message for each in data_findings(source, feeds, run=False)}
    assert "'p'" in found["DATA03"]
    blank: list[Any] = [{"p": None}, {"p": np.zeros((1, 2), np.float32)}]
    assert "DATA01" in {each.rule for each in data_findings(source, blank, run=False)}
