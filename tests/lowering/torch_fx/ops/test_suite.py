"""Rows of the float op table against the expected outputs of ONNX's own backend suite."""

from __future__ import annotations

import warnings
from collections import defaultdict
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

from qcompiler.frontends.onnx_file import program_from_proto
from qcompiler.lowering.torch_fx.ops.table import FOREIGN, TABLE

_OLDEST, _NEWEST = 9, 22
"""Other opsets of an operator are a matter of the front end."""
_COMMON = 1
"""Cases of each operator that `test_op_table` has, too; those of the others are all taken."""
_RANDOM = {"Bernoulli"}
_LISTED = """
    Cast CastLike QuantizeLinear DequantizeLinear Loop Scan If SequenceMap SequenceInsert
    SplitToSequence ConcatFromSequence OptionalHasElement OptionalGetElement
    NegativeLogLikelihoodLoss
    SoftmaxCrossEntropyLoss DFT STFT HannWindow HammingWindow BlackmanWindow MelWeightMatrix Col2Im
    MaxUnpool RoiAlign AffineGrid DeformConv CenterCropPad Unique TfIdfVectorizer ConvInteger
    QLinearConv QLinearMatMul Det LayerNormalization BatchNormalization MaxPool LpNormalization
    Add Sub Mul Div Less Max Min BitwiseNot AveragePool ConvTranspose Resize
""".split()


def _cases() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of the expected overflows
        found: list[Any] = list(collect_testcases(None))
    chosen: dict[str, list[Any]] = defaultdict(list)
    for case in found:
        nodes = case.model.graph.node
        if len(nodes) != 1 or any(
            not _OLDEST <= each.version <= _NEWEST
            for each in case.model.opset_import
            if not each.domain
        ):
            continue
        op, domain = nodes[0].op_type, nodes[0].domain
        known = op in TABLE if not domain else (domain, op) in FOREIGN
        known = known or op in ("Loop", "Scan", "If", "SequenceMap")
        plain = op not in _RANDOM and "training_dropout" not in case.name
        if known and plain and not _needs_strings(case.model):
            chosen[op].append(case)
    return [
        pytest.param(case, id=case.name)
        for op, cases in chosen.items()
        for case in (cases if op in _LISTED else cases[:_COMMON])
        if case.name not in _DIFFERENT
    ]


_DIFFERENT = {
    # The reference scales by the size before rounding; ONNX Runtime, and so we, by the size.
    "test_resize_downsample_scales_linear_align_corners",
    "test_resize_downsample_scales_cubic_align_corners",
}


def _needs_strings(model: onnx.ModelProto) -> bool:
    text = onnx.TensorProto.STRING
    values = [*model.graph.input, *model.graph.output]
    return any(value.type.tensor_type.elem_type == text for value in values)


@pytest.mark.parametrize("case", _cases())
def test_the_suites_outputs_come_out(case: Any, run_float: Any) -> None:
    program = program_from_proto(case.model)
    for given, expected in case.data_sets:
        names = [value.name for value in case.model.graph.input]
        feed = dict(zip(names, (_plain(each) for each in given), strict=True))
        for ours, theirs in zip(run_float(program, feed), map(_plain, expected), strict=True):
            _compare(ours, theirs)


def _plain(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _compare(ours: Any, theirs: Any) -> None:
    if theirs is None or isinstance(theirs, list):
        assert type(ours) is type(theirs)
        for mine, wanted in zip(ours or (), theirs or (), strict=True):
            _compare(mine, wanted)
        return
    assert ours.dtype == np.asarray(theirs).dtype
    assert ours.shape == np.shape(theirs)
    narrow = ours.dtype.itemsize < 4
    wide = np.float32 if ours.dtype.kind in "fV" and narrow else ours.dtype
    relative, absolute = (1e-2, 1e-3) if narrow else (1e-3, 1e-5)
    np.testing.assert_allclose(
        ours.astype(wide), np.asarray(theirs).astype(wide), rtol=relative, atol=absolute
    )
