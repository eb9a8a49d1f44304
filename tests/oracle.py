"""Compiling small programs for ONNX Runtime, and judging them by onnx.reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.ir.program import Program
from qcompiler.ir.walk import all_nodes
from qcompiler.testing.target_contract import in_float as in_float

Array = npt.NDArray[Any]
Feed = dict[str, Array]

HALF_PERCENT = 0.005
"""Noise-to-signal ratio of a few 8-bit layers in a row (23 dB); one layer has about 40 dB."""


def compile_int8(source: Any, feeds: Sequence[Feed], **options: Any) -> qc.Compiled:
    """Everything in 8 bits on one thread, unless options say otherwise."""
    settings = {"scheme": "int8", "recipe": "fast", **options}
    return qc.compile(source, OnnxRuntime(1), feeds, **settings)


def normal_feed(seed: int, **shapes: Sequence[int]) -> Feed:
    """Standard normal float32 inputs by name."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.standard_normal(tuple(shape)).astype(np.float32) for name, shape in shapes.items()
    }


def unoptimized(
    model: onnx.ModelProto | ir.Model | Program | Path, feed: Mapping[str, Any]
) -> list[Array]:
    """Outputs of ONNX Runtime with its optimizations off: what the graph says, node by node."""
    session = unoptimized_session(model)
    return [np.asarray(output) for output in session.run(None, dict(feed))]


def unoptimized_session(
    model: onnx.ModelProto | ir.Model | Program | Path,
) -> onnxruntime.InferenceSession:
    """On one thread; it complains of nothing."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if isinstance(model, Path):
        data: str | bytes = str(model)
    else:
        graph = model.model if isinstance(model, Program) else model
        proto = ir.to_proto(graph) if isinstance(graph, ir.Model) else graph
        data = proto.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def noise(wanted: Array, found: Array) -> float:
    """Noise-to-signal ratio."""
    return float(np.square(wanted - found).sum() / np.square(wanted).sum())


def ops_of(compiled: qc.Compiled) -> list[str]:
    """Operators of the placed program, subgraphs included."""
    return [node.op_type for node in all_nodes(compiled.program.model)]
