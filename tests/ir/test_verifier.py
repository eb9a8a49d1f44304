"""The verifier: silent on sound programs, one rule for every way of breaking one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from qcompiler.errors import InvalidProgramError
from qcompiler.ir.diagnostics import Severity
from qcompiler.ir.program import Program
from qcompiler.ir.requests import Request
from qcompiler.ir.signature import Signature
from qcompiler.ir.text import from_text
from qcompiler.ir.verifier import require_valid, verify

SOUND = """
g (float[N,4] x, bool c) => (float[N,3] y) <float[4,3] w, float s = {0.1}, uint8 z = {3},
    float[3] ws = {0.1, 0.2, 0.3}, int8[4,3] wq> {
  [q] xq = QuantizeLinear (x, s, z)
  [d] xd = DequantizeLinear (xq, s, z)
  [wd] wf = DequantizeLinear <axis = 1> (wq, ws)
  [m] a = MatMul (xd, wf)
  [i] y = If (c) <
     then_branch = t () => (float[N,3] p) { [tr] p = Relu (a) },
     else_branch = e () => (float[N,3] n) { [en] b = MatMul (xd, w)  [es] n = Neg (b) }>
}
# observe "xd": range {"method": "minmax"}"""


@pytest.fixture
def program() -> Program:
    return from_text(SOUND)


def _rules(program: Program) -> set[str]:
    return {found.rule for found in verify(program)}


def _node(program: Program, name: str) -> ir.Node:
    return next(node for node in program.graph if node.name == name)


def _value(program: Program, name: str) -> ir.Value:
    values = ir.convenience.create_value_mapping(program.graph)
    return values[name]


def test_a_sound_program_has_no_findings(program: Program) -> None:
    assert verify(program) == ()
    require_valid(program)


def _swap_order(program: Program) -> None:
    node = _node(program, "q")
    program.graph.remove(node)
    program.graph.append(node)


def _read_a_branch(program: Program) -> None:
    """The main graph reads a value of a body."""
    body = _node(program, "i").attributes["else_branch"].as_graph()
    _node(program, "m").replace_input_with(0, body[0].outputs[0])


def _stray_user(program: Program) -> None:
    ir.Node("", "Relu", [_value(program, "a")], name="stray")


def _same_value_name(program: Program) -> None:
    _node(program, "i").attributes["else_branch"].as_graph()[0].outputs[0].name = "a"


def _same_node_name(program: Program) -> None:
    _node(program, "q").name = "m"


def _no_value_name(program: Program) -> None:
    _value(program, "a").name = ""


def _unknown_op(program: Program) -> None:
    _node(program, "m").op_type = "MatMull"


def _unknown_attribute(program: Program) -> None:
    _node(program, "m").attributes["transB"] = ir.AttrInt64("transB", 1)


def _too_many_operands(program: Program) -> None:
    _node(program, "m").resize_inputs(3)


def _wrong_dtype(program: Program) -> None:
    _value(program, "a").dtype = ir.DataType.FLOAT16


def _wrong_constant_shape(program: Program) -> None:
    _value(program, "w").shape = ir.Shape([3, 4])


def _set_constant(name: str, array: object) -> Callable[[Program], None]:
    def change(program: Program) -> None:
        value, tensor = _value(program, name), ir.tensor(np.asarray(array))
        value.const_value = tensor
        value.shape, value.dtype = ir.Shape(tensor.shape.numpy()), tensor.dtype

    return change


def _bad_axis(program: Program) -> None:
    _node(program, "wd").attributes["axis"] = ir.AttrInt64("axis", 2)


def _wrong_axis(program: Program) -> None:
    _node(program, "wd").attributes["axis"] = ir.AttrInt64("axis", 0)


def _unknown_request(program: Program) -> None:
    program.requests[Request.of("nothing")] = None


def _other_signature(program: Program) -> None:
    program.signature = Signature(program.signature.inputs[:1], program.signature.outputs)


def _old_opset(program: Program) -> None:
    program.model.opset_imports[""] = 17


def _no_data(program: Program) -> None:
    _value(program, "w").const_value = None


def _weight_as_input(program: Program) -> None:
    program.graph.inputs.append(_value(program, "w"))


BROKEN: list[tuple[str, Callable[[Program], None]]] = [
    ("V03", _swap_order),
    ("V03", _read_a_branch),
    ("V02", _stray_user),
    ("V04", _same_value_name),
    ("V04", _same_node_name),
    ("V04", _no_value_name),
    ("V05", _unknown_op),
    ("V05", _unknown_attribute),
    ("V05", _too_many_operands),
    ("V06", _wrong_dtype),
    ("V06", _wrong_constant_shape),
    ("V07", _set_constant("ws", np.ones(4, np.float32))),
    ("V07", _set_constant("ws", np.ones((1, 3), np.float32))),
    ("V07", _set_constant("s", np.float32(0))),
    ("V07", _set_constant("s", np.float32(np.nan))),
    ("V07", _set_constant("z", np.zeros(2, np.uint8))),
    ("V07", _bad_axis),
    ("V07", _wrong_axis),
    ("V08", _unknown_request),
    ("V09", _other_signature),
    ("V10", _old_opset),
    ("V10", _no_data),
    ("V10", _weight_as_input),
]


@pytest.mark.parametrize(
    ("rule", "damage"), BROKEN, ids=[f"{rule}-{i}" for i, (rule, _) in enumerate(BROKEN)]
)
def test_every_damage_has_its_rule(
    program: Program, rule: str, damage: Callable[[Program], None]
) -> None:
    damage(program)
    assert rule in _rules(program)


BLOCKED = """
g (float[2,64] x) => (float[64,3] y) <int8[64,3] q, float[SCALES] s> {
  [d] y = DequantizeLinear <axis = 0, block_size = BLOCK> (q, s) }"""


@pytest.mark.parametrize(
    ("scales", "block", "sound"),
    [("2,3", 32, True), ("4,3", 16, True), ("3,3", 24, True), ("4,3", 32, False), ("2", 32, False)],
)
def test_blocked_scales(scales: str, block: int, sound: bool) -> None:
    program = from_text(BLOCKED.replace("SCALES", scales).replace("BLOCK", str(block)))
    assert ("V07" not in _rules(program)) is sound


ONE_STEP = """
g (float[4] x) => (float[4] y) <uint8[4] q, float[SCALE] s = {1}, uint8[POINT] z = {0}> {
  [d] y = DequantizeLinear (q, s, z) }"""


@pytest.mark.parametrize(
    ("scale", "point", "sound"),
    [("", "", True), ("1", "", True), ("", "1", True), ("1", "1", True), ("2", "", False)],
)
def test_one_entry_is_a_scalar(scale: str, point: str, sound: bool) -> None:
    written = {"SCALE": scale, "POINT": point}
    text = ONE_STEP
    for name, size in written.items():
        text = text.replace(f"[{name}]", f"[{size}]" if size else "")
    program = from_text(text.replace("{1}", "{1, 1}") if scale == "2" else text)
    assert ("V07" not in _rules(program)) is sound


def test_zero_point_and_bias_types() -> None:
    text = """g (float[4] x) => (uint8[4] y, float[4] f) <float s = {1}, int8 z, int32[4] b,
        int32 bz = {1}> { [q] y = QuantizeLinear (x, s, z)  [d] f = DequantizeLinear (b, s, bz) }"""
    found = [each for each in verify(from_text(text)) if each.rule == "V07"]
    assert {each.node for each in found} == {"q", "d"}


def test_all_findings_come_at_once(program: Program) -> None:
    for damage in (_unknown_attribute, _unknown_request, _wrong_axis, _other_signature):
        damage(program)
    assert {"V05", "V07", "V08", "V09"} <= _rules(program)


def test_findings_name_node_source_and_stage(program: Program) -> None:
    node = _node(program, "m")
    node.metadata_props["qcompiler.source"] = "net.py:7"
    node.op_type = "MatMull"
    (found,) = verify(program, "after spoil")
    assert (found.severity, found.node, found.source) == (Severity.ERROR, "m", "net.py:7")
    assert found.message.endswith("(after spoil)")


def test_require_valid_prints_the_ir_around_the_offender(program: Program) -> None:
    _unknown_op(program)
    with pytest.raises(InvalidProgramError) as caught:
        require_valid(program, "after spoil")
    lines = str(caught.value).splitlines()
    assert [line.strip() for line in lines if line.strip().startswith(">")] == [
        "> [m] a = MatMull (xd, wf)"
    ]
    assert any("wf = DequantizeLinear" in line for line in lines)
    assert caught.value.diagnostics


def test_foreign_domains_are_taken_as_they_are() -> None:
    text = "g (float[2] x) => (float[2] y) { y = com.acme.Op <anything = 1> (x, x, x) }"
    assert verify(from_text(text)) == ()
