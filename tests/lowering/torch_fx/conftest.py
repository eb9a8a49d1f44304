"""Programs run through the float lowering alone, and their oracles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from qcompiler.frontends.onnx_file import program_from_proto
from qcompiler.ir.program import Program
from qcompiler.lowering.torch_fx.checks import check_ops
from qcompiler.lowering.torch_fx.element_types import array_from, tensor_of
from qcompiler.lowering.torch_fx.lowering import lower_graph
from qcompiler.lowering.torch_fx.strategy import FloatCalls
from tests.oracle import unoptimized_session


@pytest.fixture
def float_module() -> Callable[[Program], torch.nn.Module]:
    """A program as a module of float calls."""

    def build(program: Program) -> torch.nn.Module:
        check_ops(program.model)
        return lower_graph(program.graph, lambda graph: FloatCalls()).built

    return build


@pytest.fixture
def run_float(float_module: Callable[[Program], torch.nn.Module]) -> Callable[..., list[Any]]:
    """(program, feed) to the outputs as arrays."""

    def run(program: Program, feed: dict[str, Any]) -> list[Any]:
        inputs = [_fed(feed[value.name or ""]) for value in program.graph.inputs]
        with torch.no_grad():
            found = float_module(program)(*inputs)
        ends = program.graph.outputs
        return [_plain(each, end.dtype) for each, end in zip(found, ends, strict=True)]

    return run


def _fed(given: Any) -> Any:
    if given is None:
        return None
    if isinstance(given, (list, tuple)):
        return [_fed(each) for each in given]
    return tensor_of(np.require(given, requirements=["C", "W"]))


def _plain(found: Any, dtype: ir.DataType | None) -> Any:
    if found is None:
        return None
    if isinstance(found, (list, tuple)):
        return [_plain(each, dtype) for each in found]
    return array_from(found, dtype)


@pytest.fixture
def row_agrees(run_float: Callable[..., list[Any]]) -> Callable[..., None]:
    """(op, operands, attributes, constants stored?): fails unless the row computes the oracle's."""

    def check(op: str, operands: Sequence[Any], attributes: dict[str, Any], stored: bool) -> None:
        model, feed = _model(op, operands, attributes, stored)
        expected = _oracle(model, feed)
        got = run_float(program_from_proto(model), feed)
        assert len(got) == len(expected)
        for ours, theirs in zip(got, expected, strict=True):
            assert ours.shape == np.shape(theirs)
            assert ours.dtype == np.asarray(theirs).dtype
            np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)

    return check


@pytest.fixture
def one_node() -> Callable[..., Any]:
    """(op, operands, attributes, constants stored?) to a one-node model and its feed."""
    return _model


def _model(
    op: str, operands: Sequence[Any], attributes: dict[str, Any], constant: bool
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    names = [f"in{i}" if each is not None else "" for i, each in enumerate(operands)]
    given = {n: np.asarray(each) for n, each in zip(names, operands, strict=True) if n}
    fed = {n: each for n, each in given.items() if not constant or n == "in0"}
    stored = [numpy_helper.from_array(given[n], n) for n in given if n not in fed]
    options = {key: value for key, value in attributes.items() if key != "outputs"}
    outputs = [f"out{i}" for i in range(attributes.get("outputs", 1))]
    node = helper.make_node(op, names, outputs, **options)
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in fed.items()
    ]
    ends = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph([node], "g", inputs, ends, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return model, fed


def _oracle(model: onnx.ModelProto, feed: dict[str, Any]) -> list[Any]:
    """ONNX Runtime where it has the kernel, else ONNX's own reference evaluator."""
    try:
        session = unoptimized_session(onnx.shape_inference.infer_shapes(model))
        return list(session.run(None, feed))
    except Exception:  # noqa: BLE001 - ORT has no kernel; the reference decides
        return list(ReferenceEvaluator(model).run(None, feed))
