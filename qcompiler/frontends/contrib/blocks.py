"""Layouts in blocks of channels (NCHWc), which ONNX Runtime writes at its default level.

A value [N, C, H, W] is stored as [N, C/B, H, W, B] under the shape [N, C', H, W], where C' is C
made a multiple of the block size B: the vector width of the processor that saved the file.
Source: ONNX Runtime, core/optimizer/nchwc_transformer.cc and MLAS, reorder.cpp.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import TensorProto, helper

from qcompiler.errors import UnreadableModelError
from qcompiler.ir.origin import describe

Array = npt.NDArray[Any]

DOMAIN = "com.microsoft.nchwc"
SIZES = (8, 16)
"""Block sizes of MLAS: 8 floats with SSE and AVX, 16 with AVX-512 and on ARM64."""


@dataclass(frozen=True)
class Evidence:
    """What one number of a file says about the size of its blocks.

    Attributes:
        multiple: A number of channels that was made a multiple of it.
        above: A number of channels that is less than one block.
        exactly: The size itself.
    """

    multiple: int = 0
    above: int = 0
    exactly: int = 0

    def allows(self, size: int) -> bool:
        whole = self.multiple % size == 0
        return whole and self.above < size and self.exactly in (0, size)


def block_size(evidence: Iterable[Evidence], node: ir.Node) -> int:
    """The size that a file was written with; where it leaves that open, this machine's.

    Args:
        evidence: Of the whole file.
        node: Named in the error.

    Raises:
        UnreadableModelError: No size fits.
    """
    found = list(evidence)
    fitting = [size for size in SIZES if all(each.allows(size) for each in found)]
    if not fitting:
        raise laid_out(node, f"its numbers of channels fit no block of {SIZES[0]} or {SIZES[1]}")
    own = machine_block()
    return own if own in fitting else fitting[-1]


@cache
def machine_block() -> int | None:
    """The block size of ONNX Runtime on this machine; None where it has no such layout.

    It reorders channels 0..15 at two positions: what stands behind the first block is position 1
    of channel 0.
    """
    node = helper.make_node("ReorderInput", ["x"], ["y"], domain=DOMAIN)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 1, 2])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 1, 2])]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    graph = helper.make_graph([node], "reorder", inputs, outputs)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        ordered = session.run(None, {"x": np.arange(32, dtype=np.float32).reshape(1, 16, 1, 2)})
    except Exception:  # noqa: BLE001 - ORT's errors have no common base: it has no such operator
        return None
    size = int(np.flatnonzero(np.asarray(ordered[0]) == 1)[0])
    return size if size in SIZES else None


def filter_of(stored: Array, size: int, *, blocked: bool) -> Array:
    """The weight [M', C', kH, kW] of a convolution out of its blocks.

    Args:
        stored: Of that shape, in the order [M'/B, C'/B, kH, kW, B of C, B of M], or
            [M'/B, C, kH, kW, B of M].
        size: B.
        blocked: Whether its input channels are in blocks too.
    """
    rows, columns, *kernel = stored.shape
    if blocked:
        parts = stored.reshape(rows // size, columns // size, *kernel, size, size)
        return parts.transpose(0, 5, 1, 4, 2, 3).reshape(stored.shape)
    parts = stored.reshape(rows // size, columns, *kernel, size)
    return parts.transpose(0, 4, 1, 2, 3).reshape(stored.shape)


def laid_out(node: ir.Node, why: str) -> UnreadableModelError:
    """The error for a file whose layout cannot be undone."""
    return UnreadableModelError(
        f"this file holds {node.op_type} in a layout for the machine that saved it",
        where=describe(node),
        why=why,
        fix="give the original model, or save it with graph_optimization_level="
        "ORT_ENABLE_EXTENDED or lower",
    )
