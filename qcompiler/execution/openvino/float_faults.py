"""Where OpenVINO computes something else than ONNX says in float, and what is done about it.

Found by running every operator of ONNX's backend suite, and their attributes crossed, on OpenVINO
2026.4.1 and ONNX Runtime. Each row of `FAULTS` mends the graph (the mended graph says the same in
ONNX), or says why it cannot; then the program is refused. Rewrites: `float_rewrites`. The tests
show each fault on a minimal graph and will say when OpenVINO has mended it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from qcompiler.errors import LoweringError
from qcompiler.execution.openvino import beside_integers, float_strides
from qcompiler.execution.openvino import float_rewrites as rewrites
from qcompiler.ir.origin import source_line
from qcompiler.ir.products import unsqueeze_behind
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes, constant, is_op

Mend = Callable[[ir.Node, Rewriter], str | None]
"""Mends a node if it has the fault; returns why it cannot be mended, None otherwise."""


@dataclass(frozen=True)
class FloatFault:
    """One row: operators, and what is done with a node of theirs.

    Attributes:
        rule: Its name in messages.
        ops: Operators of the default domain; empty for every node.
        mend: See `Mend`.
        found: What OpenVINO does, and how it was found.
    """

    rule: str
    ops: tuple[str, ...]
    mend: Mend
    found: str


def _antialias(node: ir.Node, rewriter: Rewriter) -> str | None:
    del rewriter
    wanted = bool(node.attributes.get_int("antialias", 0))
    return "its antialias filter is another one" if wanted else None


def _exclude_outside(node: ir.Node, rewriter: Rewriter) -> str | None:
    del rewriter
    cubic = node.attributes.get_string("mode", "nearest") == "cubic"
    wanted = cubic and bool(node.attributes.get_int("exclude_outside", 0))
    return "it ignores exclude_outside" if wanted else None


def _row_of_more_axes(node: ir.Node, rewriter: Rewriter) -> str | None:
    unsqueeze_behind(node, rewriter)
    return None


def _roi_mode(node: ir.Node, rewriter: Rewriter) -> str | None:
    del rewriter
    if node.attributes.get_string("mode", "avg") == "max":
        return "its maximum is taken of other points"
    rule = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    if rule == "output_half_pixel":
        return "it does not widen a region of interest to one pixel"
    return None


def _lstm_extras(node: ir.Node, rewriter: Rewriter) -> str | None:
    del rewriter
    if len(node.inputs) > 7 and node.inputs[7] is not None:
        return "it ignores peephole weights"
    return "it ignores input_forget" if node.attributes.get_int("input_forget", 0) else None


def _batch_first(node: ir.Node, rewriter: Rewriter) -> str | None:
    del rewriter
    return "it ignores layout 1" if node.attributes.get_int("layout", 0) else None


_NO_CLIP = float(np.finfo(np.float32).max)


def _lengths(node: ir.Node, rewriter: Rewriter) -> str | None:
    """A clip that nothing reaches: recurrences with one run as loops, which know lengths."""
    given = node.inputs[4] if len(node.inputs) > 4 else None
    if given is not None and not node.attributes.get_float("clip", 0.0):
        rewriter.set_attribute(node, "clip", _NO_CLIP)
    return None


def _empty_extreme(node: ir.Node, rewriter: Rewriter) -> str | None:
    del rewriter
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    empty = shape is not None and any(size == 0 for size in shape)
    return "its extreme of no elements is a finite number" if empty else None


_NARROW = (ir.DataType.UINT8, ir.DataType.INT8, ir.DataType.UINT16, ir.DataType.INT16)


def _saturating(node: ir.Node, rewriter: Rewriter) -> str | None:
    del rewriter
    value = node.inputs[0]
    if value is None or value.dtype not in _NARROW:
        return None
    return f"its {value.dtype.name.lower()} arithmetic saturates where ONNX's wraps around"


def _runs_no_time(node: ir.Node, rewriter: Rewriter) -> str | None:
    """A Loop that stacks results: OpenVINO divides by its number of trips (SIGFPE if that is 0)."""
    del rewriter
    carried = len(node.inputs) - 2
    if len(node.outputs) <= carried or not any(value.name for value in node.outputs[carried:]):
        return None
    trips, condition = constant(node.inputs[0]), constant(node.inputs[1])
    body = node.attributes["body"].as_graph()
    lasting = is_op(body.outputs[0].producer(), "Identity")
    begins = node.inputs[1] is None or (condition is not None and bool(condition.reshape(())))
    if trips is not None and int(trips.reshape(())) > 0 and begins and lasting:
        return None
    return "a loop that stacks results and may run no time at all kills its process"


_LARGEST = 2**31 - 1
_WIDE = (ir.DataType.INT64, ir.DataType.UINT64, ir.DataType.UINT32)
_SATURATED = {"Slice": (1, 2), "Gather": (), "Loop": (0,)}
"""Operands where a number beyond the end means the end: 32 bits of it are enough."""


def _wide_constant(node: ir.Node, rewriter: Rewriter) -> str | None:
    del rewriter
    harmless = _SATURATED.get(node.op_type, ())
    for place, value in enumerate(node.inputs):
        if value is None or value.dtype not in _WIDE or place in harmless:
            continue
        array = constant(value)
        if array is not None and array.size and wide(array):
            return f"it computes with 32 bits, and the constant '{value.name}' needs more"
    return None


def wide(array: np.ndarray) -> bool:
    """Whether integers lie outside of the 32 bits that OpenVINO's CPU plugin computes with."""
    return bool(array.size) and (int(array.max()) > _LARGEST or int(array.min()) < -_LARGEST - 1)


FAULTS = (
    FloatFault("OV-R1", ("ConvTranspose",), rewrites.explicit_transposed_pads,
               "output_shape and auto_pad: other padding, or another size"),
    FloatFault("OV-R2", ("AveragePool",), rewrites.pad_before_average,
               "ceil_mode with count_include_pad: divides by the whole window at the end"),
    FloatFault("OV-R3", ("MaxPool", "LpPool"), rewrites.floor_instead_of_ceil,
               "ceil_mode: a last window that starts behind the data is not dropped"),
    FloatFault("OV-R4", ("Resize",), rewrites.sizes_of_kept_ratio,
               "keep_aspect_ratio_policy is ignored"),
    FloatFault("OV-R5", ("Resize",), _antialias, "onnxruntime and onnx.reference agree against it"),
    FloatFault("OV-R6", ("Resize",), _exclude_outside, "backend suite, cubic_A_n0p5"),
    FloatFault("OV-R7", ("RoiAlign",), _roi_mode, "max, output_half_pixel"),
    FloatFault("OV-R8", ("LSTM",), _lstm_extras, "backend suite, lstm_with_peepholes"),
    FloatFault("OV-R9", ("ReduceMax", "ReduceMin"), _empty_extreme, "reduce_max_empty_set"),
    FloatFault("OV-R10", rewrites.REDUCTIONS, rewrites.reduction_over_nothing,
               "noop_with_empty_axes: returns its operand, where ONNX maps each element"),
    FloatFault("OV-R17", ("ReduceMax", "ReduceMin"), rewrites.extreme_of_infinity,
               "rows of -inf, as attention masks have them: the lowest finite number"),
    FloatFault("OV-R11", ("NonMaxSuppression",), rewrites.strict_threshold,
               "suppresses at the threshold, ONNX above it"),
    FloatFault("OV-R12", ("Add", "Sub", "Mul", "Pow", "Neg", "BitShift"), _saturating,
               "8- and 16-bit integers"),
    FloatFault("OV-R13", ("Loop",), _runs_no_time, "SIGFPE in the plugin"),
    FloatFault("OV-R16", ("LSTM", "GRU", "RNN"), _batch_first, "backend suite, lstm_batchwise"),
    FloatFault("OV-R20", ("LSTM", "GRU", "RNN"), _lengths,
               "sequence_lens are ignored in models of open sizes; random network 1000007"),
    FloatFault("OV-R21", ("Cast",), beside_integers.double_apart,
               "from double in a model with integers: the plugin refuses it"),
    FloatFault("OV-R21", ("Mul", "Div", "Add", "Sub"), beside_integers.single_arithmetic,
               "of doubles and a constant: the same"),
    FloatFault("OV-R22", ("ReduceMean", "ReduceSum"), beside_integers.squeezed_behind,
               "to a matrix in a model with integers: scales per column lose their column"),
    FloatFault("OV-R23", ("Reshape", "Unsqueeze", "Transpose"), beside_integers.columns_kept,
               "a last axis of one behind an integer product; random network 1000123"),
    FloatFault("OV-R18", ("Conv",), float_strides.slice_before_pointwise,
               "strides of a 1x1 kernel behind an op with several outputs, or with padding"),
    FloatFault("OV-R24", ("Add", "Sub"), _row_of_more_axes,
               "a constant of more axes than the product that it is added to, for its bias"),
    FloatFault("OV-R14", (), _wide_constant, "64-bit integers are kept in 32"),
)  # fmt: skip


def mended(program: Program) -> Program:
    """A copy that OpenVINO computes as ONNX says; the program itself if nothing is to be done.

    Raises:
        LoweringError: A node that OpenVINO gets wrong and that cannot be written otherwise.
    """
    copy = program.clone()
    rewriter = Rewriter(copy)
    for node in list(all_nodes(copy.model)):
        for fault in FAULTS:
            if node.graph is None or (fault.ops and not is_op(node, *fault.ops)):
                continue
            reason = fault.mend(node, rewriter)
            if reason is not None:
                raise LoweringError(
                    f"OpenVINO does not compute {node.op_type} as ONNX says ({fault.rule})",
                    where=" at ".join(filter(None, (node.name, source_line(node)))),
                    why=reason,
                    fix="choose the target onnxruntime",
                )
    rewrites.untie_layouts(copy, rewriter)
    return copy if rewriter.counts.total else program
