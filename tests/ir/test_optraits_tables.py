"""An operator is registered in whole: its traits, and what each target's row needs besides."""

from __future__ import annotations

import onnx
import pytest

from qcompiler.execution.integer.reference import KERNELS
from qcompiler.ir.nodecheck import legal_types
from qcompiler.ir.optraits import INTEGER_MOVERS, LINEAR, TRAITS
from qcompiler.pipeline import registry
from qcompiler.pipeline.targets import target_of
from qcompiler.target.capability import Kernel

TORCH = ("fbgemm", "onednn", "qnnpack", "x86")
WITHOUT_REFERENCE = {
    "onnxruntime": {"Where"},
    "openvino": {"GlobalMaxPool", "ReduceMax"},
    "tensorrt": {"GlobalMaxPool", "ReduceMax"},
}
"""Static forms whose integers `verify` cannot compare yet."""


def _static(target: str) -> set[str]:
    rows = target_of(target).capabilities.rows
    return {
        row.pattern.anchor
        for row in rows
        if any(form.kernel is Kernel.STATIC for form in row.implementations)
    }


def half_registered(target: str) -> dict[str, set[str]]:
    """What a target's rows lack, by what it is."""
    rows = {row.pattern.anchor for row in target_of(target).capabilities.rows}
    counted = {*KERNELS, *target_of(target).arithmetic.kernels, *INTEGER_MOVERS}
    found = {
        "traits": rows - set(TRAITS),
        "integer reference": _static(target) - counted - WITHOUT_REFERENCE.get(target, set()),
    }
    if target in (*TORCH, "executorch"):
        from qcompiler.lowering.torch_fx.ops.table import TABLE

        found["torch op"] = rows - set(TABLE)
    return {name: ops for name, ops in found.items() if ops}


@pytest.mark.parametrize("target", registry.engines())
def test_no_row_of_a_target_is_half_registered(target: str) -> None:
    assert half_registered(target) == {}


@pytest.mark.parametrize("target", WITHOUT_REFERENCE)
def test_what_is_known_to_lack_a_reference_still_does(target: str) -> None:
    counted = {*KERNELS, *target_of(target).arithmetic.kernels, *INTEGER_MOVERS}
    assert WITHOUT_REFERENCE[target] == WITHOUT_REFERENCE[target] & _static(target) - counted


def test_an_operator_that_is_taken_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(TRAITS, "Conv")
    monkeypatch.delitem(KERNELS, "Add")
    assert half_registered("onnxruntime") == {"traits": {"Conv"}, "integer reference": {"Add"}}


def test_every_traits_row_is_an_operator_of_onnx() -> None:
    for op, row in TRAITS.items():
        schema = onnx.defs.get_schema(op, 21)
        operands = [*(row.activations or ()), row.weight or 0, row.bias or 0]
        assert max(operands) < max(len(schema.inputs), 1), op
        if row.moves_integers:
            kinds = legal_types(schema, schema.inputs[row.weight or 0])
            assert {"tensor(int8)", "tensor(uint8)"} <= kinds, op


def test_linear_operators_say_where_their_channels_are() -> None:
    assert LINEAR == ("Conv", "ConvTranspose", "Gemm", "MatMul")
    assert all(TRAITS[op].channel_axis is not None for op in LINEAR)
