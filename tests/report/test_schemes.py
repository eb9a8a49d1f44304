"""The documented table of schemes is what the capability tables say."""

from __future__ import annotations

from pathlib import Path

import pytest

from qcompiler.backends.tensorrt.target import TensorRT
from qcompiler.decisions.schemes import SCHEMES
from qcompiler.ir.regions import RegionPattern
from qcompiler.pipeline.registry import find_target
from qcompiler.quantization.qspace import S8_AFFINE
from qcompiler.report.schemes import scheme_table, taken
from qcompiler.target.capability import CapabilityTable, Implementation, Kernel, OpCapability

PAGE = Path(__file__).resolve().parents[2] / "docs" / "schemes.md"


def tables() -> dict[str, CapabilityTable]:
    names = ("onnxruntime", "openvino", "executorch", "fbgemm", "onednn", "qnnpack", "x86")
    found = {name: find_target(name)() for name in names}
    found["tensorrt"] = TensorRT()
    found["tensorrt fp8"] = TensorRT(precision="fp8", compute_capability=89)
    found["tensorrt int4"] = TensorRT(precision="int4-weights", compute_capability=89)
    return {name: target.capabilities for name, target in found.items()}


def test_the_documented_table_is_that_of_the_targets() -> None:
    pytest.importorskip("torch")
    text = PAGE.read_text(encoding="utf-8")
    written = text.partition("<!-- table -->\n")[2].partition("<!-- end -->")[0]
    assert written == scheme_table(tables()) + "\n"


def test_a_row_that_is_added_shows() -> None:
    form = Implementation("mine", Kernel.DYNAMIC, weight=S8_AFFINE)
    table = CapabilityTable((OpCapability(RegionPattern("MatMul"), (form,)),))
    assert taken(SCHEMES["dynamic"], table) == "dynamic 1"
    assert taken(SCHEMES["int8"], table) == "dynamic 1"
    assert taken(SCHEMES["int16"], table) == "–"
    assert taken(SCHEMES["auto"], table) == "searched 1"
