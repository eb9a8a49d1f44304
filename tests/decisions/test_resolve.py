"""What `resolve` decides, against figures by hand, and what writing it makes of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.decisions.forms import region_options
from qcompiler.decisions.options import Options
from qcompiler.decisions.placement import Placement
from qcompiler.decisions.resolve import resolve
from qcompiler.decisions.roundings import Rounding
from qcompiler.errors import ConfigurationError, LegalityError
from qcompiler.ir.plan import Choice, Plan
from qcompiler.ir.program import Program, Property
from qcompiler.ir.text import from_text, to_text
from qcompiler.ir.verifier import verify
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.quantization.observers import MinMax
from qcompiler.quantization.qspace import QSpace

TEXT = """g (float[1,2,2,2] x) => (float[1,2,2,2] y, float[1,2,2,2] z)
<float[2,2,1,1] w = {1.0, 0.5, -0.25, 2.0}, float[2] b = {1.0, -1.0}>
{ [one] y = Conv(x, w, b) [two] z = Conv(y, w) }"""
RANGES = {"x": (-1.0, 1.55), "y": (-3.0, 2.1), "z": (-1.0, 1.55)}
S16 = QSpace(ir.DataType.INT16, symmetric=True)


def calibrated(text: str = TEXT, ranges: Mapping[str, tuple[float, float]] = RANGES) -> Program:
    program = from_text(text)
    for name, (low, high) in ranges.items():
        program.observations[name] = MinMax.empty().update(np.asarray([[low, high]]))
    return program


def options_of(program: Program) -> list[Options]:
    target = OnnxRuntime(1)
    return region_options(program, target, target.regions(program))


def planned(**precisions: str) -> Plan:
    return Plan("onnxruntime", {key: Choice(value) for key, value in precisions.items()})


def write(program: Program, placement: Placement) -> Program:
    placed = program.clone()
    placed.placement = placement
    placed.properties |= {Property.PRECISION_ASSIGNED, Property.RESOLVED}
    passes = Pipeline.parse("insert-qdq,fold-qdq,quantize-weights,quantize-bias,dead-code")
    passes.run(placed, PassContext(OnnxRuntime(1)))
    assert verify(placed) == ()
    return placed


def test_the_record_holds_every_decision() -> None:
    """2.55 = 255 * 0.01; 5.1 = 255 * 0.02; channel maxima 1 and 2; 1 / (0.01 / 127) = 12700."""
    program = calibrated()
    found = resolve(program.observations, options_of(program), planned(one="int8", two="int8"))
    assert {key: round(float(p.scale), 6) for (key, _), p in found.values.items()} == {
        "x": 0.01, "y": 0.02, "z": 0.01,
    }  # fmt: skip
    one, two = found.regions["one"], found.regions["two"]
    assert one.activations[0].params is found.params("x")
    assert one.written is two.activations[0].params is found.params("y")
    assert one.rounding is not None
    np.testing.assert_allclose(one.rounding.params.scale, [1 / 127, 2 / 127], rtol=1e-7)
    assert one.bias_rounding is not None
    np.testing.assert_array_equal(one.bias_rounding.integers, [12700, -6350])
    assert (two.bias, two.bias_rounding) == (None, None)
    assert to_text(program) == to_text(calibrated())  # deciding writes nothing


def test_float_regions_are_not_in_the_record() -> None:
    program = calibrated()
    found = resolve(program.observations, options_of(program), planned(one="int8"))
    assert set(found.regions) == {"one"}


def test_a_form_that_is_not_legal_is_refused() -> None:
    program = calibrated()
    with pytest.raises(LegalityError, match="cannot run as int5"):
        resolve(program.observations, options_of(program), planned(one="int5"))


def test_integers_of_an_accuracy_pass_are_what_is_written() -> None:
    """The door for learned rounding: other integers, same parameters."""
    program = calibrated()
    found = resolve(program.observations, options_of(program), planned(one="int8", two="int8"))
    one = found.regions["one"]
    assert one.rounding is not None
    moved = Rounding(one.rounding.params, one.rounding.integers - np.int8(1), "learned")
    placed = write(program, found.with_regions({"one": replace(one, rounding=moved)}))
    stored = {
        name: value.const_value.numpy().reshape(2, 2).tolist()
        for name, value in placed.graph.initializers.items()
        if name.startswith("w_quantized") and value.const_value is not None
    }
    assert sorted(stored.values()) == [[[126, 63], [-17, 126]], [[127, 64], [-16, 127]]]


def test_a_region_that_is_not_placed_cannot_be_changed() -> None:
    program = calibrated()
    found = resolve(program.observations, options_of(program), planned(one="int8"))
    with pytest.raises(ConfigurationError, match="two"):
        found.with_regions({"two": found.regions["one"]})


def test_one_value_is_read_in_two_storage_types() -> None:
    """`y` is written in uint8 and read in int16: quantized once more behind its copy."""
    program = calibrated()
    one, two = options_of(program)
    wide = replace(two.implementations[0], precision="int16", activation=S16, output=S16)
    options = [one, replace(two, implementations=(wide,))]
    plan = planned(one=one.implementations[0].precision, two="int16")
    found = resolve(program.observations, options, plan)
    assert set(found.values) == {
        ("x", "UINT8"), ("y", "UINT8"), ("y", "INT16"), ("z", "INT16"),
    }  # fmt: skip
    with pytest.raises(ConfigurationError, match="2 storage types"):
        found.params("y")
    read = {
        (node.inputs[0].name, node.outputs[0].dtype)
        for node in write(program, found).graph
        if node.op_type == "QuantizeLinear" and node.inputs[0] is not None
    }
    assert read == {
        ("x", ir.DataType.UINT8), ("y_inner", ir.DataType.UINT8),
        ("y", ir.DataType.INT16), ("z_inner", ir.DataType.INT16),
    }  # fmt: skip


def test_a_form_that_no_pass_writes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be planned and named, and run in float."""
    from qcompiler.measurement.placing import place

    program = calibrated()
    options, plan = options_of(program), planned(one="int8")
    place(program, OnnxRuntime(1), options, plan)
    monkeypatch.setattr(OnnxRuntime, "placement", "insert-qdq")
    with pytest.raises(LegalityError, match="its weight stays float"):
        place(program, OnnxRuntime(1), options, plan)


def test_regions_are_found_and_constraints_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing a candidate finds no region: what was decided is read from the record."""
    from qcompiler.measurement.placing import place

    program = calibrated()
    options = options_of(program)
    asked: list[str] = []
    for name in ("regions", "implementations", "objections"):
        monkeypatch.setattr(OnnxRuntime, name, lambda *_, name=name: asked.append(name))
    place(program, OnnxRuntime(1), options, planned(one="int8", two="int8"))
    assert asked == []
