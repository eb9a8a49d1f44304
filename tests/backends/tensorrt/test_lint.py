"""The lint against TensorRT's documented rules; tests/differential asks the builder itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks.tensorrt_cases_placement import placement
from benchmarks.tensorrt_cases_scales import blocks, scales
from benchmarks.tensorrt_cases_types import types
from benchmarks.tensorrt_net import KERNEL, Net, image
from qcompiler.backends.tensorrt.lint import RULES, float_nodes, lint
from qcompiler.errors import UnreadableModelError
from qcompiler.ir.diagnostics import Severity

CASES = {case.name: case for make in (types, scales, blocks, placement) for case in make()}

EXPECTED = {
    "type-QLinearConv": "T01",
    "type-MatMulInteger": "T01",
    "type-bias-int32": "T02",
    "type-int16": "T03",
    "type-uint8-weight": "T03",
    "activation-zero-uint8-0": "T04",
    "type-no-zero": "T05",
    "activation-zero-int8-1": "T06",
    "scale-graph-input": "T07",
    "scale-runtime": "T07",
    "scale-0.0": "T08",
    "scale-nan": "T08",
    "scale-inf": "T08",
    "scale-zero-volume": "T09",
    "scale-per-channel-activation": "T10",
    "scale-rank1": "T11",
    "block-int8-64-axis0": "T12",
    "block-int4-0-axis0": "T12",
    "block-int4-rank-mismatch": "T13",
    "block-int4-conv": "T14",
    "block-int4-odd": "T15",
    "block-int4-opset19": "T16",
    "type-bare-quantized": "T17",
    "scale-half-scale": "T17",
    "place-no-activation": "T18",
    "place-no-weight": "T18",
    "type-float8-activation-int8-weight": "T19",
    "place-deconv-1": "T20",
    "axis-conv-1": "T21",
    "axis-matmul-0": "T21",
    "axis-transposed-weight-1": "T21",
    "block-int4-sm75": "T22",
    "type-graph-input-3": "P2",
    "residual-branch": "P4",
}


@pytest.mark.parametrize(("name", "rule"), EXPECTED.items())
def test_each_rule_fires_on_the_graph_that_breaks_it(name: str, rule: str) -> None:
    case = CASES.get(name) or CASES[f"place-{name}"]
    found = lint(case.model, case.compute_capability)
    assert rule in {each.rule for each in found}
    chosen = next(each for each in found if each.rule == rule)
    assert chosen.hint
    assert chosen.reference


@pytest.mark.parametrize(
    "name", ["place-conv", "type-weight-from-float", "after-conv-MaxPool-bare", "axis-matmul-1"]
)
def test_a_rightly_placed_graph_is_clean(name: str) -> None:
    assert lint(CASES[name].model) == ()


def test_ids_are_unique_and_complete() -> None:
    ids = [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids)
    assert {f"T{n:02d}" for n in range(1, 22)} <= set(ids)
    assert {f"P{n}" for n in range(1, 14)} <= set(ids)


def test_findings_are_ordered_and_name_the_node() -> None:
    found = lint(CASES["type-bias-int32"].model)
    assert found[0].severity is Severity.ERROR
    assert found[0].node == "dequantizelinear0"
    assert [each.severity for each in found] == sorted(
        (each.severity for each in found), reverse=True
    )


def test_float_nodes_names_only_the_float_one(conv_net: Callable[..., Any]) -> None:
    assert float_nodes(conv_net()) == frozenset()
    rank1 = conv_net({"scale": np.full(1, 0.02, np.float32)})
    assert float_nodes(rank1) == {node.name for node in rank1.graph.node if node.op_type == "Conv"}


@pytest.mark.parametrize(("capability", "rule"), [(75, "T23"), (80, None), (86, None)])
def test_int8_convolution_by_compute_capability(
    conv_net: Callable[..., Any], capability: int, rule: str | None
) -> None:
    assert {each.rule for each in lint(conv_net(), capability)} == ({rule} if rule else set())


def test_reads_a_file_and_refuses_a_damaged_one(
    conv_net: Callable[..., Any], tmp_path: Path
) -> None:
    onnx.save(conv_net(), tmp_path / "good.onnx")
    assert lint(tmp_path / "good.onnx") == ()
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(UnreadableModelError, match="cannot read"):
        lint(tmp_path / "bad.onnx")


def test_advice_needs_a_reason() -> None:
    def narrow(net: Net) -> str:
        x = net.quantize(net.conv(net.quantize("x"), net.weight((12, 16, 3, 3))))
        return net.conv(x, net.weight((12, 12, 3, 3)))

    def wide(net: Net) -> str:
        x = net.quantize(net.conv(net.quantize("x"), net.weight(KERNEL)))
        return net.conv(x, net.weight(KERNEL))

    assert {each.rule for each in lint(image(narrow))} == {"P9"}
    assert lint(image(wide)) == ()


def test_what_is_no_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """Reading a pipe does not end; the model's weights stay in their folder, as for every model."""
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(UnreadableModelError, match="no regular file"):
        lint(tmp_path / "pipe.onnx")
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    weight.ClearField("float_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=str(tmp_path / "elsewhere"))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    (tmp_path / "elsewhere").write_bytes(b"\0" * 8)
    with pytest.raises(UnreadableModelError, match="external data"):
        lint(tmp_path / "m.onnx")
