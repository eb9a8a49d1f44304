"""Integer kernels are found under every name that ONNX Runtime gives them; misses are named."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.capabilities import TABLE
from qcompiler.backends.onnxruntime.renaming import known_names, owner_of, owners
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.errors import VerificationError
from qcompiler.execution.session import OrtSession
from qcompiler.ir.text import from_text
from qcompiler.ir.walk import all_nodes
from qcompiler.quantization.qspace import S8_SYMMETRIC
from qcompiler.target.capability import CapabilityTable, Implementation, OpCapability

Array = npt.NDArray[Any]

IMAGE = "float[1,16,8,8] x"
FILTER = "float[16,16,3,3] w, float[16] b"
CASES = {
    "Conv": (IMAGE, FILTER, "[cv] y = Conv<pads = [1,1,1,1]>(x, w, b)"),
    "Conv+Relu": (IMAGE, FILTER, "[cv] c = Conv<pads = [1,1,1,1]>(x, w, b) [re] y = Relu(c)"),
    "Gemm+Relu": (
        "float[4,16] x",
        "float[16,16] w, float[16] b",
        "[cv] c = Gemm(x, w, b) [re] y = Relu(c)",
    ),
    "MatMul+Add": (
        "float[4,16] x",
        "float[16,16] w, float[16] b",
        "[cv] c = MatMul(x, w) [ad] y = Add(c, b)",
    ),
    "MatMul*scale": (
        "float[2,4,16] x",
        "float[16,16] w, float b",
        "[cv] c = MatMul(x, w) [ad] y = Mul(c, b)",
    ),
    "Transpose+MatMul": (
        "float[2,16,4] x",
        "float[16,16] w",
        "[t] u = Transpose<perm = [0,2,1]>(x) [cv] y = MatMul(u, w)",
    ),
}


def _program(name: str) -> qc.Program:
    feed, weights, body = CASES[name]
    return from_text(f"g ({feed}) => (float[] y) <{weights}> {{ {body} }}")


@pytest.mark.parametrize("name", CASES)
def test_a_float_kernel_is_traced_to_its_region(name: str) -> None:
    """The optimized file of ONNX Runtime itself says which names it gives."""
    program = _program(name)
    regions = OnnxRuntime().regions(program)
    names = owners(program, regions)
    optimized = OrtSession(program.model, threads=1).optimized_model()
    found = {node.op_type for node in all_nodes(optimized) if owner_of(node, names) == "cv"}
    assert found & {"Conv", "FusedConv", "FusedGemm", "Gemm", "FusedMatMul"}


def test_renamings_are_undone_one_by_one() -> None:
    assert list(known_names("fused a/b_token_12")) == ["fused a/b_token_12", "a/b"]
    assert list(known_names("mm/MatMulAddFusion")) == ["mm/MatMulAddFusion", "mm"]
    assert list(known_names("y_nchwc_token_3"))[-1] == "y"
    assert list(known_names("plain")) == ["plain"]


@dataclass(frozen=True)
class NoOutputQ(OnnxRuntime):
    """Convolutions placed as TensorRT wants them: no Q behind, which ONNX Runtime cannot fuse."""

    name: ClassVar[str] = "no-output-q"

    @property
    def capabilities(self) -> CapabilityTable:
        row = TABLE.row("Conv")
        assert row is not None
        form = replace(row.implementations[0], output=None)
        return TABLE.overlay([OpCapability(row.pattern, (form,), row.constraints)])


@dataclass(frozen=True)
class SymmetricRelu(OnnxRuntime):
    """Signed symmetric activations: the ReLU cannot be absorbed by saturation (facts, 3.2)."""

    name: ClassVar[str] = "symmetric-relu"

    @property
    def capabilities(self) -> CapabilityTable:
        row = TABLE.row("Conv")
        assert row is not None
        form: Implementation = replace(
            row.implementations[0], activation=S8_SYMMETRIC, output=S8_SYMMETRIC
        )
        return TABLE.overlay([OpCapability(row.pattern, (form,), row.constraints)])


def _compiled(target: OnnxRuntime, name: str) -> qc.Compiled:
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((1, 16, 8, 8)).astype(np.float32)} for _ in range(2)]
    return qc.compile(_program(name), target, feeds, scheme="int8", recipe="fast")


@pytest.mark.parametrize(
    ("target", "name"),
    [(NoOutputQ(1), "Conv"), (NoOutputQ(1), "Conv+Relu"), (SymmetricRelu(1), "Conv+Relu")],
)
def test_t17_no_integer_kernel_where_some_were_meant_is_an_error(
    target: OnnxRuntime, name: str
) -> None:
    compiled = _compiled(target, name)
    assert compiled.kernels.integer == ()
    assert set(compiled.kernels.missed) == {"cv"}
    assert "float" in compiled.kernels.missed["cv"]
    found = compiled.verify()
    assert not found.ok
    with pytest.raises(VerificationError, match="runs in integers"):
        found.require()
    assert any("runs in integers" in str(each) for each in compiled.report.diagnostics)


@pytest.mark.parametrize("name", ["Conv", "Conv+Relu"])
def test_t17_the_right_placement_is_counted(name: str) -> None:
    """Negative control of the test above."""
    compiled = _compiled(OnnxRuntime(1), name)
    assert compiled.kernels.integer == ("cv",)
    assert compiled.kernels.ops["QLinearConv"] == 1
    assert compiled.verify().require().ok


def test_dynamic_products_are_counted() -> None:
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((4, 16)).astype(np.float32)}]
    compiled = qc.compile(_program("MatMul+Add"), OnnxRuntime(1), feeds, scheme="dynamic")
    assert compiled.kernels.integer == ("cv",)
    assert compiled.kernels.ops["DynamicQuantizeMatMul"] == 1
