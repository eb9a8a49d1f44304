"""Feeds of another batch size than the example's."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qcompiler.ir.signature import Signature, TensorSpec
from qcompiler.measurement.other_batch import with_other_batch


def test_another_batch_size() -> None:
    signature = Signature((TensorSpec("x", ir.DataType.FLOAT, ("n", 8)),), ())
    feed = {"x": np.ones((4, 8), np.float32)}
    resized = with_other_batch(signature, feed)
    assert resized is not None
    assert resized["x"].shape == (3, 8)
    single = with_other_batch(signature, {"x": feed["x"][:1]})
    assert single is not None
    assert single["x"].shape == (3, 8)


def test_inputs_whose_batches_have_names_of_their_own_grow_together() -> None:
    specs = [
        TensorSpec(name, ir.DataType.FLOAT, (dim, 8)) for name, dim in (("x", "a"), ("m", "b"))
    ]
    signature = Signature(tuple(specs), ())
    one, rows = np.ones((1, 8), np.float32), np.ones((5, 8), np.float32)
    found = with_other_batch(signature, {"x": one, "m": one})
    assert found is not None
    assert [len(each) for each in found.values()] == [3, 3]
    apart = with_other_batch(signature, {"x": rows, "m": one})  # a row that is broadcast
    assert apart is not None
    assert [len(each) for each in apart.values()] == [4, 1]
