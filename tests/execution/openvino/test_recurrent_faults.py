"""What OpenVINO computes otherwise than ONNX in recurrences: the fault is there, and mended or not.

ONNX Runtime is the oracle, as in `test_float_faults`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from qcompiler.errors import LoweringError
from qcompiler.execution.openvino.float_faults import mended
from qcompiler.execution.openvino.session import OpenVinoSession, available
from qcompiler.execution.session import OrtSession
from qcompiler.frontends import load
from qcompiler.ir.program import Program

pytestmark = pytest.mark.skipif(not available(), reason="openvino is not installed")

STEPS, BATCH, READ, STATE = 5, 3, 4, 2
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
LENGTHS = np.array([2, 5, 1], np.int32)
Arrays = dict[str, Any]


def _recurrence(
    op: str, lengths: bool = True, stored: bool = False, **attributes: Any
) -> tuple[Program, Arrays]:
    """One op of open time and batch (of open time where lengths are stored), and a feed."""
    rng = np.random.default_rng(0)
    ways = 2 if attributes.get("direction") == "bidirectional" else 1
    held: Arrays = {
        "w": rng.normal(size=(ways, GATES[op] * STATE, READ)).astype(np.float32),
        "r": rng.normal(size=(ways, GATES[op] * STATE, STATE)).astype(np.float32),
    }
    feed: Arrays = {"x": rng.normal(size=(STEPS, BATCH, READ)).astype(np.float32)}
    sizes: dict[str, list[Any]] = {"x": ["t", BATCH if stored else "b", READ], "l": ["b"]}
    if lengths:
        (held if stored else feed)["l"] = LENGTHS
    outputs = ["y", "h", "c"][: 3 if op == "LSTM" else 2]
    read = ["x", "w", "r", *(["", "l"] if lengths else [])]
    node = helper.make_node(op, read, outputs, name="n", hidden_size=STATE, **attributes)
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(each.dtype), sizes[name]
        )
        for name, each in feed.items()
    ]
    stores = [numpy_helper.from_array(each, name) for name, each in held.items()]
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph([node], "g", inputs, results, stores)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    return load(made), feed


def _same(program: Program, feed: Arrays) -> bool:
    found = OpenVinoSession(program.model, program.signature, threads=1).run(feed)
    wanted = OrtSession(program.model, optimize=False).run(feed)
    return all(np.allclose(a, b, atol=1e-4) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", GATES)
def test_lengths_count_in_models_of_open_sizes(op: str, direction: str, stored: bool) -> None:
    program, feed = _recurrence(op, stored=stored, direction=direction)
    assert not _same(program, feed)
    assert _same(mended(program), feed)


def test_a_clip_of_its_own_and_a_recurrence_without_lengths_stay() -> None:
    program, feed = _recurrence("GRU", clip=0.5)
    assert mended(program) is program
    assert _same(program, feed)
    without, _ = _recurrence("GRU", lengths=False)
    assert mended(without) is without


def test_batch_first_is_refused() -> None:
    """ONNX Runtime has no layout 1 either; onnx.reference has, and says another thing."""
    program, _ = _recurrence("GRU", lengths=False, layout=1)
    with pytest.raises(LoweringError, match="OV-R16"):
        mended(program)
