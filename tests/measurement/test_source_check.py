"""The float program against its source: faults are told from rounding, and named by node."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import qcompiler as qc
from qcompiler.backends.onnxruntime.artifact import OrtArtifact
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.errors import LoweringError, SourceError
from qcompiler.execution.onnx_source import OnnxSource
from qcompiler.execution.session import OrtSession
from qcompiler.frontends import load
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.signature import Feed
from qcompiler.ir.text import from_text
from qcompiler.measurement.float_agreement import rounding
from qcompiler.measurement.loss import noise_to_signal, sqnr_db
from qcompiler.measurement.parts import Slicer
from qcompiler.measurement.source_check import SourceCheck

N = helper.make_node
Model = Callable[..., onnx.ModelProto]


@pytest.fixture
def model() -> Model:
    """A model over `x` [n, 8] from nodes that make `y`."""

    def build(
        nodes: Sequence[onnx.NodeProto], kind: int = TensorProto.FLOAT, **stored: np.ndarray
    ) -> onnx.ModelProto:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])
        y = helper.make_tensor_value_info("y", kind, None)
        constants = [numpy_helper.from_array(each, name) for name, each in stored.items()]
        graph = helper.make_graph(list(nodes), "g", [x], [y], constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    return build


@pytest.fixture
def feed(rng: np.random.Generator) -> Feed:
    return {"x": rng.normal(size=(4, 8)).astype(np.float32)}


@pytest.fixture
def weight(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(8, 8)).astype(np.float32)


def checked(source: onnx.ModelProto, program: Program, feed: Feed) -> SourceCheck:
    """A check that has run the program on ONNX Runtime against another model as its source."""
    check = SourceCheck(OnnxSource(source), program, OnnxRuntime(), [feed], Slicer(program))
    check.check(program, OnnxRuntime().lower(program).run)
    return check


def chain(activation: str, weight: np.ndarray, model: Model) -> onnx.ModelProto:
    nodes = [N("MatMul", ["x", "w"], ["a"], name="mm"), N(activation, ["a"], ["b"], name="act")]
    return model([*nodes, N("MatMul", ["b", "w"], ["y"], name="last")], w=weight)


def test_equal_programs_pass(model: Model, feed: Feed, weight: np.ndarray) -> None:
    made = chain("Relu", weight, model)
    assert checked(made, load(made), feed).diagnostics == []


def test_a_source_is_let_go_once_its_outputs_are_known(
    model: Model, feed: Feed, weight: np.ndarray
) -> None:
    """Its session holds a second copy of the weights; what was found stays, and it runs again."""
    made = chain("Relu", weight, model)
    sessions = weakref.WeakSet[OrtSession]()
    source = OnnxSource(made)
    sessions.add(source._session)  # type: ignore[arg-type]
    program = load(made)
    check = SourceCheck(source, program, OnnxRuntime(), [feed], Slicer(program))
    run = OnnxRuntime().lower(program).run
    check.check(program, run)
    gc.collect()
    assert not sessions
    check.check(program, run)
    np.testing.assert_allclose(source.run(feed)[0], run(feed)[0], rtol=1e-5, atol=1e-5)
    with pytest.raises(SourceError):
        check.check(program, lambda given: [2 * run(given)[0]])


def test_a_wrong_translation_names_the_first_node(
    model: Model, feed: Feed, weight: np.ndarray
) -> None:
    with pytest.raises(SourceError) as caught:
        checked(chain("Relu", weight, model), load(chain("Tanh", weight, model)), feed)
    assert "'act'" in (caught.value.where or "")
    assert "output 'y' keeps" in (caught.value.why or "")


class Wrong(OnnxRuntime):
    """Takes Relu for Abs, as an engine with a fault does."""

    def lower(self, program: Program) -> OrtArtifact:
        changed = program.clone()
        for node in changed.graph:
            if node.op_type == "Relu":
                node.op_type = "Abs"
        return super().lower(changed)


def test_a_wrong_engine_names_the_first_node(model: Model, feed: Feed, weight: np.ndarray) -> None:
    made = chain("Relu", weight, model)
    with pytest.raises(SourceError, match="on onnxruntime") as caught:
        qc.compile(made, Wrong(), [feed] * 3, scheme="float32", recipe="fast")
    assert "'act'" in (caught.value.where or "")


def test_random_results_are_no_fault(model: Model, feed: Feed) -> None:
    """Two seeds stand for two runs."""

    def drawing(seed: float) -> onnx.ModelProto:
        draw = N("RandomNormalLike", ["x"], ["r"], name="draw", seed=seed)
        return model([draw, N("Add", ["x", "r"], ["y"])])

    found = checked(drawing(1.0), load(drawing(2.0)), feed).diagnostics
    assert "draws random numbers" in found[0].message


class Saturating(OnnxRuntime):
    """Takes numbers below zero for zero in Casts, which ONNX allows and its own kernel does not."""

    def lower(self, program: Program) -> OrtArtifact:
        changed = program.clone()
        rewriter = Rewriter(changed)
        for node in [each for each in changed.graph if each.name == "cast"]:
            clipped = rewriter.insert("Relu", [node.inputs[0]], before=node, outputs=["clipped"])
            rewriter.set_input(node, 0, clipped.outputs[0])
        return super().lower(changed)


def test_what_onnx_leaves_open_is_no_fault(model: Model, feed: Feed) -> None:
    """Any uint8 is right for a number below zero, so another one is told, not refused."""
    nodes = [N("Mul", ["x", "k"], ["a"]), N("Cast", ["a"], ["c"], name="cast", to=2)]
    made = model([*nodes, N("Cast", ["c"], ["y"], to=1)], k=np.float32(100))
    done = qc.compile(made, Saturating(), [feed] * 3, scheme="float32", recipe="fast")
    told = [each for each in done.report.diagnostics if each.rule == "SOURCE01"]
    assert "which ONNX leaves open" in told[0].message
    assert told[0].node == "cast"


def test_an_ill_conditioned_source_is_no_fault(
    model: Model, feed: Feed, weight: np.ndarray
) -> None:
    """The difference of two sums in another order is rounding alone: it determines nothing."""
    steps = [N("MatMul", ["x", "w"], ["a"]), N("MatMul", ["x", "v"], ["b"])]
    nodes = [*steps, N("Sub", ["a", "b"], ["c"]), N("Mul", ["c", "k"], ["y"])]
    big = np.float32(1e9)
    source = model(nodes, w=weight, v=weight * np.float32(1 + 2e-7), k=big)
    program = load(model(nodes, w=weight, v=weight * np.float32(1 - 2e-7), k=big))
    assert "last bits" in checked(source, program, feed).diagnostics[0].message


def test_tolerances_follow_the_coarsest_type(model: Model) -> None:
    plain = load(model([N("Relu", ["x"], ["y"])]))
    half = [N("Cast", ["x"], ["h"], to=10), N("Relu", ["h"], ["r"]), N("Cast", ["r"], ["y"], to=1)]
    assert rounding(plain) == 1e-6
    assert rounding(load(model(half))) == pytest.approx((32 / 2048) ** 2)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("blocks", [False, True])
def test_activations_of_stored_integers_are_rounded(bits: int, blocks: bool) -> None:
    """ONNX Runtime makes MatMulNBits of the source's product, which computes in int8."""
    at, size = ("axis = 0, block_size = 16", "2,16") if blocks else ("axis = 1", "16")
    text = (
        f"g (float[4,32] x) => (float[4,16] y) <int{bits}[32,16] w, float[{size}] s> "
        f"{{ d = DequantizeLinear<{at}>(w, s) y = MatMul(x, d) }}"
    )
    rng = np.random.default_rng(0)
    dtype = (ir.DataType.INT4 if bits == 4 else ir.DataType.INT8).numpy()
    integers = rng.integers(-8, 8, (32, 16))
    scale = rng.uniform(0.1, 1, (2, 16) if blocks else 16).astype(np.float32)
    x = rng.standard_normal((4, 32)).astype(np.float32)
    program = from_text(text, {"w": integers.astype(dtype), "s": scale})
    done = qc.compile(program, "onnxruntime", [{"x": x}], scheme="float32", recipe="fast")
    exact = x @ (integers * (scale.repeat(16, 0) if blocks else scale))
    assert sqnr_db(noise_to_signal([[exact]], [[done.run({"x": x})[0]]])) > 40


def test_onnx_reference_runs_what_onnxruntime_refuses(model: Model, feed: Feed) -> None:
    """An ONNX op of a domain that ONNX Runtime does not have, put together by a function."""
    made = model([N("Relu", ["x"], ["y"], name="r")])
    made.ir_version = 99  # ONNX Runtime refuses files of the future
    np.testing.assert_array_equal(OnnxSource(made).run(feed)[0], np.maximum(feed["x"], 0))


def test_a_source_that_runs_nowhere_is_told(model: Model, feed: Feed) -> None:
    made = model([N("Nonsense", ["x"], ["y"], domain="nowhere")])
    made.opset_import.append(helper.make_opsetid("nowhere", 1))
    with pytest.raises(LoweringError, match="does not run here"):
        OnnxSource(made)


class Torch:
    """Modules made where torch is wanted."""

    @staticmethod
    def module(forward: Callable[[Any], Any]) -> Any:
        torch = pytest.importorskip("torch")

        class Module(torch.nn.Module):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.linear = torch.nn.Linear(8, 8)
                self.register_buffer("calls", torch.zeros(()))

            def forward(self, x: Any) -> Any:
                return forward(self.linear(x))

        return Module()


def test_a_torch_module_and_its_data_stay_as_they_are(feed: Feed) -> None:
    torch = pytest.importorskip("torch")
    from qcompiler.execution.torch_source import TorchSource

    module = Torch.module(lambda h: h.relu_()).train()
    state = {name: each.clone() for name, each in module.state_dict().items()}
    given = {"x": feed["x"].copy()}
    program = load(module, torch.from_numpy(feed["x"]))
    found = TorchSource(module, program.signature).run(given)[0]
    with torch.no_grad():
        np.testing.assert_array_equal(found, module(torch.from_numpy(feed["x"])).numpy())
    assert module.training
    assert all(torch.equal(each, state[name]) for name, each in module.state_dict().items())
    np.testing.assert_array_equal(given["x"], feed["x"])


def test_a_random_module_is_told_not_refused(feed: Feed) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    module = Torch.module(lambda h: functional.dropout(h, 0.5, training=True)).eval()
    tensor = torch.from_numpy(feed["x"])
    made = qc.compile(module, calibration=[tensor] * 3, scheme="float32", recipe="fast")
    told = [each.message for each in made.report.diagnostics if each.rule == "SOURCE01"]
    assert len(told) == 1


@pytest.mark.parametrize(
    ("kind", "told"),
    [(TensorProto.DOUBLE, "is float32, the source's is float64"), (TensorProto.FLOAT, None)],
)
def test_the_type_of_an_output_is_the_sources(
    kind: int, told: str | None, model: Model, feed: Feed
) -> None:
    """Its numbers are the same, and whoever calls it gets other ones all the same."""
    source = model([N("Relu", ["x"], ["a"]), N("Cast", ["a"], ["y"], to=kind)], kind)
    program = load(model([N("Relu", ["x"], ["y"])]))
    if told is None:
        assert checked(source, program, feed).diagnostics == []
        return
    with pytest.raises(SourceError, match="returns something else") as caught:
        checked(source, program, feed)
    assert told in (caught.value.why or "")


def test_the_shape_of_an_output_is_told(model: Model, feed: Feed) -> None:
    source = model([N("Relu", ["x"], ["a"]), N("Flatten", ["a"], ["y"], axis=0)])
    program = load(model([N("Relu", ["x"], ["y"])]))
    with pytest.raises(SourceError) as caught:
        checked(source, program, feed)
    assert "has the shape [4, 8], the source's has [1, 32]" in (caught.value.why or "")
