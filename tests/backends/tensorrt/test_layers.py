"""The reader of the builder's layer list, on lines as TensorRT-RTX 1.7.1 writes them."""

from __future__ import annotations

from qcompiler.backends.tensorrt.layers import compiled_types, parse_layers

_OPERAND = "{{ Name: {0}, Dimensions: [1,16], Strides: [16,1], Datatype: {1}, Format: (NHWC) }}"


def _line(name: str, kind: str, inputs: str, constants: str, nodes: str) -> str:
    left = ", ".join(_OPERAND.format("a", each) for each in inputs.split())
    fixed = ", ".join(_OPERAND.format("c", each) for each in constants.split())
    out = _OPERAND.format("o", "Float")
    return (
        f"Name: {name}, LayerType: {kind}, Inputs: [ {left}], Constants: [ {fixed}], "
        f"Outputs: [ {out}], TacticName: __myelin_CASK_STUB, StreamId: 0, Metadata: {nodes}"
    )


TEXT = "Layers:\n" + "\n".join(
    [
        _line("q", "kgen", "Float", "Float", "[ONNX Layer: Q][ONNX Layer: conv]"),
        _line("c", "correlation", "Int8", "Int8 Float", "[ONNX Layer: conv][ONNX Layer: DQ[0]]"),
        _line("m", "runtime_fusion", "Half", "Int4 Half", "[ONNX Layer: matmul]"),
        _line("t", "kgen", "Float", "", ""),
    ]
)


def test_heavy_layers_decide_the_type_of_a_node() -> None:
    types = compiled_types(parse_layers(TEXT))
    assert types["conv"] == "Int8"
    assert types["matmul"] == "Half x Int4"
    assert types["Q"] == "Float"
    assert "DQ[0]" in types


def test_operand_types_are_told_apart() -> None:
    layer = parse_layers(TEXT)[1]
    assert (layer.inputs, layer.constants, layer.outputs) == (
        ("Int8",),
        ("Int8", "Float"),
        ("Float",),
    )
    assert layer.heavy
    assert not parse_layers(TEXT)[0].heavy


def test_other_text_gives_no_layers() -> None:
    assert parse_layers("nothing here\nEngine Metadata:") == ()
