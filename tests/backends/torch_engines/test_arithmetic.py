"""The integer rules that `verify` uses, against the engines themselves; and what they catch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import qcompiler as qc
from qcompiler.backends.fbgemm import Fbgemm
from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.arithmetic import arithmetic_of
from qcompiler.backends.torch_engines.eager import EagerArtifact, float_baseline
from qcompiler.backends.torch_engines.engine import TorchEngine
from qcompiler.errors import ConfigurationError
from qcompiler.execution.integer import comparison
from qcompiler.execution.integer.operand import QuantizedOperand
from qcompiler.frontends import load
from qcompiler.ir.text import from_text
from qcompiler.pipeline import registry
from qcompiler.quantization.qspace import U8_AFFINE, QParams
from qcompiler.target.arithmetic import Tolerance

ENGINES = adapter.available_engines()


def params(scale: Any, zero: int) -> QParams:
    return QParams(np.asarray(scale, np.float32), np.asarray(zero, np.int64), U8_AFFINE)


def tensor(data: Any, p: QParams) -> torch.Tensor:
    stored = torch.from_numpy(data)
    return torch._make_per_tensor_quantized_tensor(stored, float(p.scale), int(p.zero_point))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_arithmetic_follows_the_engine_on_ties(engine: str, op: str, rng: Any) -> None:
    """Scales related by 1/2, 1 and 2 give ties in every second element; 64 fills the vectors."""
    for ratio in (0.5, 1.0, 2.0):
        a, b = params(0.0213, 120), params(0.0213 * ratio, 33)
        out = params(0.0213 * (1 + ratio) if op == "Add" else 0.09, 77)
        qa, qb = (rng.integers(0, 256, 64 * 40).astype(np.uint8) for _ in range(2))
        rule = arithmetic_of(engine).kernels[op]
        wanted = rule({}, [QuantizedOperand(qa, a), QuantizedOperand(qb, b)], None, None, out)
        with adapter.engine_scope(engine):
            kernel = adapter.op(op.lower())
            found = kernel(tensor(qa, a), tensor(qb, b), float(out.scale), int(out.zero_point))
        np.testing.assert_array_equal(found.int_repr().numpy(), wanted)


def test_tolerances_count_steps_and_shares() -> None:
    loose = Tolerance(1, 0.001)
    assert loose.allows({0: 100_000, 1: 100})
    assert not loose.allows({0: 100_000, 1: 300})
    assert not loose.allows({0: 100_000, 2: 1})
    assert not Tolerance(0).allows({0: 10, 1: 1})
    with pytest.raises(ConfigurationError):
        Tolerance(-1)


class Net(torch.nn.Module):
    """A convolution with a clipped end, a sum, an average and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU6())
        self.second = torch.nn.Conv2d(16, 16, 3, padding=1)
        self.head = torch.nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        y = torch.relu(self.second(y) + y)
        result: torch.Tensor = torch.relu(torch.sigmoid(self.head(y.mean((2, 3)))) - 0.25)
        return result


@pytest.fixture(scope="module")
def net() -> tuple[torch.nn.Module, list[tuple[torch.Tensor]]]:
    torch.manual_seed(1)
    return Net().eval(), [(torch.randn(2, 3, 12, 12),) for _ in range(4)]


@pytest.mark.parametrize("engine", ENGINES)
def test_verify_compares_every_region_of_a_torch_module(engine: str, net: Any) -> None:
    module, feeds = net
    compiled = qc.compile(module, engine, feeds, scheme="int8", recipe="fast")
    found = compiled.verify(feeds[:1])
    assert found.ok, found.text()
    ops = " ".join(check.ops for check in found.checked)
    assert all(op in ops for op in ("Conv", "Add", "Gemm", "Sigmoid"))
    assert sum(check.elements for check in found.checked) > 1000


def test_verify_names_a_layer_that_is_wrong(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: weights shifted by one step behind the reference's back."""
    module, feeds = net
    honest: Callable[..., Any] = adapter.pack_conv

    def shifted(weight: Any, *rest: Any) -> Any:
        return honest(np.clip(weight.astype(np.int16) + 8, -127, 127).astype(np.int8), *rest)

    monkeypatch.setattr(adapter, "pack_conv", shifted)
    compiled = qc.compile(module, Fbgemm(), feeds, scheme="int8", recipe="fast")
    failed = compiled.verify(feeds[:1]).failed
    assert failed
    assert all("Conv" in check.ops for check in failed)


TIED = """g (float[4] x, float[1] c) => (float[4] y) { y = Add(x, c) }"""


@pytest.mark.parametrize("engine", ENGINES)
def test_ties_of_few_elements_may_go_either_way(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of c are half of those of x and y: every sum is a tie, and four fill no vector."""
    feeds = [{"x": np.array([0, 0.5, 1, 1.5], np.float32), "c": np.array([-0.75], np.float32)}]
    ranges = {"x": (0.0, 1.5), "c": (-0.75, 0.0), "y": (-0.75, 0.75)}
    scheme = {"scheme": "int8", "recipe": "fast"}
    compiled = qc.compile(from_text(TIED), engine, feeds, ranges=ranges, **scheme)  # type: ignore[arg-type]
    found = compiled.verify(feeds)
    assert found.checked[0].elements == 4
    assert found.ok, found.text()
    monkeypatch.setattr(comparison, "_TIE", 0.0)  # the control: no tie is known as one
    assert engine == "qnnpack" or not compiled.verify(feeds).ok


def test_a_value_that_is_joined_everywhere_may_be_a_tie(monkeypatch: pytest.MonkeyPatch) -> None:
    """One number repeated, 4.7e-6 steps from a tie in the joined scale: every element is off."""
    steps, joined = np.float32(0.08585787564516068), np.float32(0.2042025625705719)
    x = steps * (np.array([0, 255] + 62 * [152]) - 108).astype(np.float32)
    wide = joined * (np.array([0, 255] + 62 * [141]) - 141).astype(np.float32)
    feeds = [{"x": x, "c": wide}]
    text = "g (float[64] x, float[64] c) => (float[128] y) { y = Concat<axis=0>(x, c) }"
    compiled = qc.compile(from_text(text), Fbgemm(), feeds, scheme="int8", recipe="fast")
    assert compiled.verify(feeds).ok
    monkeypatch.setattr(comparison, "_TIE", 0.0)  # the control
    assert [check.lsb for check in compiled.verify(feeds).failed] == [{0: 66, 1: 62}]


def test_a_tie_has_two_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: sums that are all ties, and a reference that is a step higher in both its forms.

    They fill vectors, so that the engine rounds as the reference does, and is one step below.
    """
    x = np.tile(np.array([0, 0.5, 1, 1.5], np.float32), 16)
    feeds = [{"x": x, "c": np.array([-0.75], np.float32)}]
    text = TIED.replace("[4]", "[64]")
    compiled = qc.compile(from_text(text), Fbgemm(), feeds, scheme="int8", recipe="fast")
    assert compiled.verify(feeds).ok
    rule = arithmetic_of("fbgemm").kernels["Add"]
    steps: list[Any] = []

    def shifted(*operands: Any) -> Any:
        if operands[-1] is None:
            return rule(*operands) + steps[-1]
        steps.append(operands[-1].scale)
        return np.minimum(rule(*operands), 254) + np.uint8(1)

    monkeypatch.setitem(arithmetic_of("fbgemm").kernels, "Add", shifted)
    assert not compiled.verify(feeds).ok


@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("shape", ["1", "6", "5,1", "4,1,6", "4,5,6"])
def test_results_are_allocated_in_their_own_shape(
    op: str, shape: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Torch resizes a result that has the shape of a narrow first operand, and warns of it."""
    text = f"g (float[{shape}] x, float[4,5,6] c) => (float[4,5,6] y) {{ y = {op}(x, c) }}"
    rng = np.random.default_rng(6)
    dims = [int(dim) for dim in shape.split(",")]
    feeds = [
        {"x": rng.random(dims, np.float32), "c": rng.random((4, 5, 6), np.float32)}
        for _ in range(3)
    ]
    compiled = qc.compile(from_text(text), Fbgemm(), feeds, scheme="int8", recipe="fast")
    found = compiled.run(feeds[0])[0]
    wanted = feeds[0]["x"] + feeds[0]["c"] if op == "Add" else feeds[0]["x"] * feeds[0]["c"]
    assert np.abs(found - wanted).max() <= 2 / 128  # two roundings of numbers up to 2 to 1/127
    assert compiled.verify(feeds).checked
    assert "resized" not in capfd.readouterr().err


@pytest.mark.parametrize("op", ["Add", "AveragePool"])
def test_what_is_off_without_a_tie_counts(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: the reference is one step off everywhere."""
    nodes = {
        "Add": ("Add(x, c)", "8,8"),
        "AveragePool": ("AveragePool<kernel_shape=[2,2]>(x)", "7,7"),
    }
    node, last = nodes[op]
    text = f"g (float[1,4,8,8] x, float[1,4,8,8] c) => (float[1,4,{last}] y)"
    rng = np.random.default_rng(5)
    feeds = [{n: rng.standard_normal((1, 4, 8, 8)).astype(np.float32) for n in "xc"}]
    compiled = qc.compile(from_text(f"{text} {{ y = {node} }}"), Fbgemm(), feeds, scheme="int8")
    assert compiled.verify(feeds).ok
    rule = arithmetic_of("fbgemm").kernels[op]

    def shifted(*operands: Any) -> Any:
        result = rule(*operands)
        return result if operands[-1] is None else result + np.uint8(1)

    monkeypatch.setitem(arithmetic_of("fbgemm").kernels, op, shifted)
    assert not compiled.verify(feeds).ok


class Attention(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList(torch.nn.Linear(32, 32) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part(x) for part in self.parts)
        weights: torch.Tensor = torch.softmax(q @ k.transpose(1, 2) / 5, -1)
        result: torch.Tensor = weights @ v
        return result


@pytest.mark.parametrize("engine", ENGINES)
def test_products_of_activations_are_rows_of_the_normalization_option(engine: str) -> None:
    torch.manual_seed(2)
    module, feeds = Attention().eval(), [(torch.randn(2, 16, 32),) for _ in range(3)]
    kind = registry.find_target(engine)
    assert issubclass(kind, TorchEngine)
    target = kind(normalization=True)
    compiled = qc.compile(module, target, feeds, scheme="int8", recipe="fast")
    found = compiled.verify(feeds)
    assert found.ok, found.text()
    assert {"MatMul", "Softmax"} <= {check.ops for check in found.checked}
    assert compiled.kernels.ops["quantized.matmul.default"] == 2
    plain = qc.compile(module, engine, feeds, scheme="int8", recipe="fast")
    assert "quantized.matmul.default" not in plain.kernels.ops


def test_float_is_the_faster_of_eager_and_lowered(net: Any, monkeypatch: Any) -> None:
    module, feeds = net
    program = load(module, feeds[0])
    lowered = Fbgemm().lower(program)
    feed = {program.signature.input_names[0]: feeds[0][0].numpy()}
    chosen = float_baseline(module, lowered, [feed])
    with torch.no_grad():
        wanted = module(feeds[0][0]).numpy()
    np.testing.assert_allclose(chosen.run(feed)[0], wanted, rtol=1e-4, atol=1e-5)
    slow: Callable[..., Any] = lowered.run

    def crawling(each: Any) -> Any:
        import time

        time.sleep(0.02)
        return slow(each)

    monkeypatch.setattr(lowered, "run", crawling)
    assert isinstance(float_baseline(module, lowered, [feed]), EagerArtifact)
    assert float_baseline("a path", lowered, [feed]) is lowered


class Writes(torch.nn.Module):
    """Writes to its argument."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mul_(2).relu()


class Remembers(torch.nn.Module):
    calls: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x.relu()


@pytest.mark.parametrize("module", [Writes(), Remembers()])
def test_a_module_with_a_memory_is_no_baseline_and_feeds_stay(
    module: torch.nn.Module, monkeypatch: Any
) -> None:
    program = load(module, torch.randn(2, 8))
    lowered = Fbgemm().lower(program)
    feed = {program.signature.input_names[0]: np.ones((2, 8), np.float32)}
    plain: Callable[..., Any] = lowered.run

    def crawling(each: Any) -> Any:
        import time

        time.sleep(0.02)
        return plain(each)

    monkeypatch.setattr(lowered, "run", crawling)  # the eager module would be chosen otherwise
    chosen = float_baseline(module, lowered, [feed])
    assert (chosen is lowered) == isinstance(module, Remembers)
    np.testing.assert_array_equal(chosen.run(feed)[0], plain(feed)[0])
    assert (feed[program.signature.input_names[0]] == 1).all()
