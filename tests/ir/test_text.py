"""Text in, program out, and the same text again."""

from __future__ import annotations

import subprocess
import sys
import zlib

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from qcompiler.errors import UnreadableModelError
from qcompiler.ir.program import WORKING_OPSET
from qcompiler.ir.text import from_text, to_text
from qcompiler.ir.walk import constant

TEXT = """\
<
   ir_version: 10,
   opset_import: ["" : 21, "qcompiler" : 1]
>
net (float[N,3,8,8] x, bool c) => (float[N,4,6,6] "y/out:0")
   <float k = {0.1}, int64[2] "a b" = {-1, 2}, int8 z = {-3}, bool t = {1}, float[4,3,3,3] w>
{
   [conv] "conv.out" = Conv <kernel_shape: ints = [3, 3], pads: ints = [0, 0, 0, 0]> (x, w)
   [watch] r = qcompiler.Observer <method: string = "min\\"max", share: float = 0.1> ("conv.out")
   [clip] d = Clip ("conv.out", "", k)
   [if] "y/out:0" = If <else_branch: graph = e () => (float[N,4,6,6] v)
         <float[1] u = {1e-20}>
      {
         [add] v = Add (d, u)
      }, then_branch: graph = t1 () => (float[N,4,6,6] s)
      {
         [relu] s = Relu (d)
      }> (c)
}
"""


def test_the_text_comes_back() -> None:
    assert to_text(from_text(TEXT)) == TEXT


def test_onnx_reads_it_too() -> None:
    proto = onnx.parser.parse_model(to_text(from_text(TEXT)))
    assert [node.op_type for node in proto.graph.node] == ["Conv", "Observer", "Clip", "If"]
    assert proto.graph.node[2].input[1] == ""
    assert proto.graph.output[0].name == "y/out:0"


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-45, 3.4028234e38, -16777217.0, 0.03])
def test_floats_are_exact(value: float) -> None:
    """Nine significant digits give a float32 back bit for bit; eight do not."""
    text = "g (float[1] x) => (float[1] y) <float[1] k> { y = Add (x, k) }"
    program = from_text(text, {"k": np.array([value], np.float32)})
    again = from_text(to_text(program)).graph.initializers["k"].const_value
    assert again is not None
    assert again.numpy().tobytes() == np.float32(value).tobytes()


def test_large_and_odd_constants_are_elided() -> None:
    text = "g (float[9] x) => (float[9] y) <float[9] k, float16 h> { y = Add (x, k) }"
    printed = to_text(from_text(text))
    assert "<float[9] k, float16 h>" in printed
    assert "float[9] k = {" in to_text(from_text(text), inline=9)


def test_given_weights_are_taken_and_checked() -> None:
    text = "g (float[2] x) => (float[2] y) <float[2] k> { y = Add (x, k) }"
    array = np.array([5, 6], np.float32)
    tensor = from_text(text, {"k": array}).graph.initializers["k"].const_value
    assert tensor is not None
    np.testing.assert_array_equal(tensor.numpy(), array)
    with pytest.raises(UnreadableModelError, match=r"declared \(2,\) and given \(3,\)"):
        from_text(text, {"k": np.zeros(3, np.float32)})


def _drawn(name: str) -> bytes:
    text = f"g (float[2,5] x) => (float[2,4] y) <float[5,4] {name}> {{ y = MatMul (x, {name}) }}"
    tensor = from_text(text).graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy().tobytes()


def test_drawn_weights_depend_on_the_name_alone() -> None:
    code = (
        "import sys, zlib; from qcompiler.ir.text import from_text; "
        "p = from_text('g (float[2,5] x) => (float[2,4] y) <float[5,4] w> { y = MatMul (x, w) }');"
        "print(zlib.crc32(p.graph.initializers['w'].const_value.numpy().tobytes()))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert int(other.stdout) == zlib.crc32(_drawn("w"))
    assert _drawn("w") != _drawn("v")


def test_drawn_parameters_make_sense() -> None:
    """Scales and variances are positive, zero points 0: the op could not run otherwise."""
    text = """g (float[4,2,3] x) => (float[4,2,3] y)
        <float[2] s, float[2] b, float[2] m, float[2] v, float q, int8 z> {
        n = BatchNormalization (x, s, b, m, v)  i = QuantizeLinear (n, q, z)
        y = DequantizeLinear (i, q, z) }"""
    held = from_text(text).graph.initializers
    arrays = {name: constant(value) for name, value in held.items()}
    assert np.all(np.asarray(arrays["v"]) > 0)
    assert np.asarray(arrays["q"]) > 0
    assert np.asarray(arrays["z"]) == 0


def test_short_texts_get_a_header_and_comments_are_skipped() -> None:
    program = from_text("# what is special\ng (float[2] x) => (float[2] y) { y = Relu (x) }")
    assert program.model.opset_imports[""] == WORKING_OPSET
    assert program.graph[0].name
    assert program.signature.input_names == ("x",)


def test_syntax_errors_are_ours() -> None:
    with pytest.raises(UnreadableModelError, match="not ONNX text"):
        from_text("g (float[2] x) => (float[2] y) { y = Relu x }")


def test_tensor_attributes_and_omitted_outputs() -> None:
    text = """<
   ir_version: 10,
   opset_import: ["" : 21]
>
g (float[2] x) => (float[2] y)
{
   [c] k = Constant <value: tensor = float[2] {1.5, -2.0}> ()
   [d] y, "" = Dropout (k)
}
"""
    program = from_text(text)
    assert to_text(program) == text
    value = program.graph[0].attributes["value"].as_tensor()
    assert value.dtype == ir.DataType.FLOAT
