"""Schemes as preferences among forms: what each takes on each target, and what it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.backends.tensorrt.target import TensorRT
from qcompiler.config import RECIPES, recipe_of
from qcompiler.decisions.forms import region_options
from qcompiler.decisions.planning import uniform_plan
from qcompiler.decisions.schemes import SCHEMES, Scheme, scheme_of
from qcompiler.errors import CalibrationError, ConfigurationError, LegalityError
from qcompiler.frontends import load
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.ir.text import from_text
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.pipeline.registry import find_target
from qcompiler.quantization.qspace import (
    F8_E5M2,
    S8_AFFINE,
    U8_AFFINE,
    U16_AFFINE,
    Granularity,
    QSpace,
)
from qcompiler.target.capability import Implementation, Kernel
from qcompiler.target.contract import Target

TARGETS = ("onnxruntime", "openvino", "tensorrt", "tensorrt{precision=fp8}",
           "tensorrt{precision=int4-weights}", "fbgemm", "onednn", "qnnpack", "x86",
           "executorch")  # fmt: skip
NET = """g (float[2,3,8,8] x) => (float[2,16] y)
    <float[4,3,3,3] w, float[144,128] m, float[128,16] n, float[16] b> {
    [cv] c = Conv(x, w) r = Relu(c) [fl] f = Flatten(r) [mm] p = MatMul(f, m) [sg] s = Sigmoid(p)
    [gm] y = Gemm(s, n, b) }"""


def blocks(dtype: ir.DataType, size: int) -> Implementation:
    return Implementation(
        f"b{size}", Kernel.WEIGHT_ONLY, weight=QSpace(dtype, True, Granularity.GROUP, size)
    )


STATIC = Implementation("one", activation=U8_AFFINE, output=U8_AFFINE)
SIGNED = Implementation("two", activation=S8_AFFINE)
WIDE = Implementation("three", activation=U16_AFFINE, searched=False)
DYNAMIC = Implementation("four", Kernel.DYNAMIC, weight=S8_AFFINE)
FLOAT8 = Implementation("five", Kernel.WEIGHT_ONLY, weight=F8_E5M2)
NIBBLES = blocks(ir.DataType.INT4, 32), blocks(ir.DataType.UINT4, 128)
EVERY = (NIBBLES[0], FLOAT8, DYNAMIC, WIDE, SIGNED, STATIC, NIBBLES[1])


@pytest.mark.parametrize(
    ("scheme", "form"),
    [
        ("int8", SIGNED),
        ("int16", WIDE),
        ("dynamic", DYNAMIC),
        ("int4", SIGNED),  # around products only
        ("int4-weights", NIBBLES[0]),
        ("int4-weights-b128", NIBBLES[1]),
        ("int4-weights-b64", None),
        ("int2-weights", None),
        ("fp8-weights", None),
        ("fp8-e5m2-weights", FLOAT8),
        ("fp8", None),
        ("float32", None),
    ],
)
def test_a_scheme_takes_forms_by_what_they_are_not_by_their_names(
    scheme: str, form: Implementation | None
) -> None:
    assert SCHEMES[scheme].choose(EVERY) is form
    assert (form is not None) is any(map(SCHEMES[scheme].takes, EVERY))


def test_int8_falls_back_in_its_own_order() -> None:
    assert SCHEMES["int8"].choose([DYNAMIC, WIDE]) is DYNAMIC
    assert SCHEMES["int8"].choose([blocks(ir.DataType.INT8, 32), DYNAMIC]) is DYNAMIC
    assert SCHEMES["int8"].choose([WIDE, FLOAT8]) is None
    written = Implementation("only its result", output=S8_AFFINE)  # a softmax behind float
    assert SCHEMES["int8"].choose([DYNAMIC, written]) is written


def test_a_form_of_one_target_is_asked_for_by_its_name() -> None:
    assert Scheme("three").choose(EVERY) is WIDE
    assert Scheme("nine").choose(EVERY) is None
    assert Scheme("three", observer="mse").needs_calibration(OnnxRuntime().capabilities) is False


@pytest.mark.parametrize(
    ("scheme", "target", "needed"),
    [
        ("auto", OnnxRuntime(), True),
        ("int8", OnnxRuntime(), True),
        ("int16", OnnxRuntime(), True),
        ("int4", OnnxRuntime(), True),
        ("int8-float-out", OnnxRuntime(), True),
        ("dynamic", OnnxRuntime(), False),
        ("fp8-weights", OnnxRuntime(), False),
        ("float32", OnnxRuntime(), False),
        ("fp8", TensorRT(precision="fp8", compute_capability=89), True),
        ("fp8", TensorRT(), False),
        ("int4-weights", TensorRT(precision="int4-weights", compute_capability=89), False),
        ("auto", TensorRT(precision="int4-weights", compute_capability=89), False),
    ],
)
def test_calibration_is_needed_where_a_static_form_is_taken(
    scheme: str, target: Target, needed: bool
) -> None:
    asked = SCHEMES.get(scheme, Scheme(scheme))
    assert asked.needs_calibration(target.capabilities) is needed


def test_a_static_scheme_without_data_is_refused() -> None:
    with pytest.raises(CalibrationError, match="'int16' needs calibration data"):
        qc.compile(from_text(NET), scheme="int16")
    with pytest.raises(ConfigurationError, match="no scheme 'int17'"):
        scheme_of("int17")


@pytest.fixture(scope="module")
def planned() -> Callable[[str, str], tuple[Plan, Target]]:
    """Plan of a scheme on a target for `NET`."""
    feed = {"x": np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)}
    known: dict[str, Any] = {}

    def plan(scheme: str, name: str) -> tuple[Plan, Target]:
        if name not in known:
            kind, _, given = name.partition("{")
            options = {"precision": given[:-1].partition("=")[2], "compute_capability": 89}
            target = find_target(kind)(**options if given else {})
            program = load(from_text(NET))
            steps = Pipeline.parse("insert-observers{method=minmax},calibrate")
            steps.run(program, PassContext(target, [feed]))
            known[name] = target, region_options(program, target, target.regions(program))
        target, options = known[name]
        return uniform_plan(SCHEMES[scheme], options, target.name), target

    return plan


@pytest.mark.parametrize("target", TARGETS)
def test_every_scheme_offers_forms_or_says_why_not(
    planned: Callable[[str, str], tuple[Plan, Target]], target: str
) -> None:
    for scheme in (name for name in SCHEMES if name != "auto"):
        plan, found = planned(scheme, target)
        for choice in plan.choices.values():
            named = [f for f in found.capabilities.forms if f.precision == choice.precision]
            assert choice.reason
            assert choice.precision == FLOAT or any(map(SCHEMES[scheme].takes, named))
        takes = any(map(SCHEMES[scheme].takes, found.capabilities.forms))
        quantized = any(choice.precision != FLOAT for choice in plan.choices.values())
        assert takes or not quantized


def test_what_no_region_can_take_is_refused_with_reasons() -> None:
    pytest.importorskip("openvino")
    small = "g (float[2,8] x) => (float[2,8] y) <float[8,8] w> { [mm] y = MatMul(x, w) }"
    for scheme in ("int16", "fp8", "int2-weights", "fp8-e5m2-weights"):
        with pytest.raises((LegalityError, CalibrationError)) as raised:
            qc.compile(from_text(small), "openvino", scheme=scheme)
        assert f"'{scheme}'" in str(raised.value)


def _sqnr(wanted: npt.NDArray[Any], found: npt.NDArray[Any]) -> float:
    error = np.square(wanted - found, dtype=np.float64).sum()
    return float(10 * np.log10(np.square(wanted, dtype=np.float64).sum() / error))


def test_16_bit_activations_leave_8_bit_ones_far_behind() -> None:
    """Weights on a grid of 8 bits, so that only activations are rounded: 8 bits more are 48 dB."""
    draw = np.random.default_rng(0)
    program = from_text(NET)
    for name in ("w", "m", "n"):
        value = program.graph.initializers[name]
        shape = value.shape.numpy() if value.shape else ()
        array = draw.integers(-127, 128, shape).astype(np.float32) / 1024
        axis = {"w": 0}.get(name, 1)
        np.moveaxis(array, axis, 0).reshape(shape[axis], -1)[:, 0] = 127 / 1024
        value.const_value = ir.Tensor(array)
    feeds = [{"x": draw.normal(size=(2, 3, 8, 8)).astype(np.float32)} for _ in range(4)]
    plain = qc.compile(program, OnnxRuntime(1), feeds, scheme="float32", recipe="fast")
    wanted = plain.run(feeds[0])[0]
    found = {}
    for scheme in ("int8", "int16"):
        compiled = qc.compile(program, OnnxRuntime(1), feeds, scheme=scheme, recipe="fast")
        found[scheme] = _sqnr(wanted, compiled.run(feeds[0])[0])
    assert found["int16"] > found["int8"] + 36


def test_int4_is_nothing_without_a_product_in_it() -> None:
    """What it puts around products is int8, which nobody would call int4."""
    program = from_text("g (float[2,3] x) => (float[2,3] y) { y = Sigmoid(x) }")
    feeds = [{"x": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)}]
    with pytest.raises(LegalityError, match="no region of this model can run as 'int4'"):
        qc.compile(program, OnnxRuntime(1), feeds, scheme="int4", recipe="fast")
    assert SCHEMES["int4"].takes(STATIC)
    assert not SCHEMES["int4"].means(STATIC)
    compiled = qc.compile(program, OnnxRuntime(1), feeds, scheme="int8", recipe="fast")
    assert "int8" in compiled.plan.precisions.values()


@pytest.mark.parametrize("scheme", ["int4", "int16", "fp8-weights", "fp8-e5m2-weights"])
def test_plan_and_artifact_come_back_as_they_were(scheme: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    program = from_text(NET)
    feeds = [{"x": draw.normal(size=(2, 3, 8, 8)).astype(np.float32)} for _ in range(2)]
    compiled = qc.compile(program, OnnxRuntime(1), feeds, scheme=scheme, recipe="fast")
    read = Plan.from_json(compiled.plan.to_json())
    assert read == compiled.plan
    assert scheme in read.precisions.values()
    again = qc.compile(program, OnnxRuntime(1), feeds, plan=read, recipe="fast")
    compiled.save(tmp_path / "net.onnx")
    restored = qc.load_compiled(tmp_path / "net.onnx")
    assert restored.plan.precisions == read.precisions
    assert set(restored.kernels.simulated) == set(compiled.kernels.simulated)
    for other in (again, restored):
        for one, two in zip(compiled.run(feeds[0]), other.run(feeds[0]), strict=True):
            np.testing.assert_array_equal(one, two)
    plain = qc.compile(program, OnnxRuntime(1), feeds, scheme="float32", recipe="fast")
    if scheme not in (
        "int4",
        "int16",
    ):  # weights of a quarter of the size; the rest is scales and biases
        assert compiled.artifact.nbytes < plain.artifact.nbytes / 2


def test_a_timing_that_decides_nothing_is_in_proportion_to_what_came_before() -> None:
    fast = recipe_of("fast")
    assert fast.limited(0.4, searching=True).timing == fast.timing
    assert fast.limited(3.2, searching=False).timing == pytest.approx(0.2)
    assert fast.limited(3.2, searching=False).turns < fast.limited(3.2, searching=True).turns
    assert 0 < fast.limited(0.0, searching=False).timing < 0.1
    assert fast.limited(60.0, searching=False).timing == fast.timing
    assert recipe_of("best").limited(0.1, searching=False).timing == recipe_of("best").timing


def test_whoever_names_variants_has_time_for_them() -> None:
    fast = RECIPES["fast"]
    assert fast.search_seconds(0.1) == 1.0
    assert fast.limited(0.1, searching=False, named=True).seconds == fast.seconds
    assert RECIPES["balanced"].search_seconds(0.1) == RECIPES["balanced"].seconds
