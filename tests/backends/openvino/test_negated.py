"""OV-F7: what is negated behind an integer product and its activation."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import qcompiler as qc
from qcompiler.errors import LegalityError
from qcompiler.execution.openvino.session import OpenVinoSession, available
from qcompiler.execution.session import OrtSession
from qcompiler.ir.signature import signature_of

pytestmark = pytest.mark.skipif(
    not available(), reason="openvino is not installed: qcompiler[openvino]"
)
_BODIES = {
    "Relu, Neg": ("r = Relu(c) y = Neg(r)", True),
    "Relu, Sub": ("r = Relu(c) y = Sub(x, r)", True),
    "LeakyRelu, Sub": ("r = LeakyRelu(c) y = Sub(r, x)", True),
    "PRelu, Sub": ("r = PRelu(c, slope) y = Sub(x, r)", True),
    "Relu, less a number": ("r = Relu(c) y = Sub(r, slope)", False),
    "Sub": ("r = Identity(c) y = Sub(x, r)", False),
    "Abs, Sub": ("r = Abs(c) y = Sub(x, r)", False),
}


_FLOAT = "[conv] c = Conv<pads=[1,1,1,1]>(x, w)"
_INTEGERS = """q = QuantizeLinear(x, step, mid) d = DequantizeLinear(q, step, mid)
    v = DequantizeLinear<axis=0>(i, scales, zeros) c = Conv<pads=[1,1,1,1]>(d, v)"""


def _model(body: str, product: str = _FLOAT) -> onnx.ModelProto:
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3,8,8] x) => (float[2,3,8,8] y)
        <float[3,3,3,3] w, int8[3,3,3,3] i, float slope = {{0.1}}, float step = {{0.03}},
         uint8 mid = {{128}}, float[3] scales = {{0.002, 0.003, 0.004}},
         int8[3] zeros = {{0, 0, 0}}> {{ {product} {body} }}"""
    )
    drawn = np.random.default_rng(0).normal(0, 0.3, (3, 3, 3, 3)).astype(np.float32)
    integers = np.clip(np.rint(drawn * 100), -127, 127).astype(np.int8)
    arrays: dict[str, np.ndarray[Any, Any]] = {"w": drawn, "i": integers}
    for name, array in arrays.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    del model.graph.value_info[:]
    return model


@pytest.mark.parametrize("name", _BODIES)
def test_a_negated_result_is_what_its_file_says(name: str) -> None:
    body, refused = _BODIES[name]
    model = _model(body)
    draw = np.random.default_rng(1)
    feeds = [{"x": draw.normal(0, 1, (2, 3, 8, 8)).astype(np.float32)} for _ in range(3)]
    try:
        compiled = qc.compile(model, "openvino", feeds, scheme="int8", recipe="fast", budget=0)
    except LegalityError:  # nothing else in it can be quantized
        assert refused
        return
    assert compiled.plan.precision("conv") == ("float32" if refused else "int8")
    found = np.asarray(compiled.run(feeds[0])[0])
    wanted = OrtSession(qc.load(model).model).run(feeds[0])[0]
    assert np.square(found - wanted).sum() < 1e-3 * np.square(wanted).sum()


def test_openvino_has_the_fault() -> None:
    """The same integers, as a file says them: wrong by more than rounding can explain."""
    model = _model("r = Relu(c) y = Neg(r)", _INTEGERS)
    feed = {"x": np.random.default_rng(1).normal(0, 1, (2, 3, 8, 8)).astype(np.float32)}
    program = qc.load(model)
    found = OpenVinoSession(program.model, signature_of(program.model)).run(feed)[0]
    wanted = OrtSession(program.model, optimize=False).run(feed)[0]
    assert np.square(found - wanted).sum() > 0.1 * np.square(wanted).sum()


@pytest.mark.parametrize("first", ["x", "slope"])
def test_a_subtracted_convolution_is_found_under_no_name(first: str) -> None:
    """OpenVINO turns the sign of its scale, and the kernel has only a name of OpenVINO's own."""
    model = _model(f"t = Sub({first}, c) y = Relu(t)")
    feed = {"x": np.random.default_rng(1).normal(0, 1, (2, 3, 8, 8)).astype(np.float32)}
    compiled = qc.compile(model, "openvino", [feed], scheme="int8", recipe="fast", budget=0)
    checked = compiled.verify()
    assert checked.ok, checked.summary
    assert not compiled.kernels.missed
    assert compiled.kernels.ops["Convolution:u8"] == checked.integer == 1


def test_a_convolution_is_found_under_the_name_of_what_copies_it() -> None:
    model = _model("y, m = Dropout(c)")
    model.graph.output.append(onnx.helper.make_tensor_value_info("m", 9, [2, 3, 8, 8]))
    feed = {"x": np.random.default_rng(1).normal(0, 1, (2, 3, 8, 8)).astype(np.float32)}
    compiled = qc.compile(model, "openvino", [feed], scheme="int8", recipe="fast", budget=0)
    checked = compiled.verify()
    assert checked.ok, checked.summary
    assert checked.integer == 1
