"""The first node of a program whose result differs between two engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.errors import LoweringError, QCompilerError
from qcompiler.execution.session import OrtSession
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed, signature_of
from qcompiler.ir.walk import is_op
from qcompiler.measurement.float_agreement import rounding, where_finite
from qcompiler.measurement.loss import noise_to_signal
from qcompiler.measurement.parts import is_numeric
from qcompiler.target.contract import Target

Array = npt.NDArray[Any]


def first_difference(
    program: Program, found: Mapping[str, Array], wanted: Mapping[str, Array]
) -> tuple[ir.Node | None, bool]:
    """The first node in graph order whose result differs, and whether ONNX leaves it open.

    Args:
        program: Whose order counts.
        found: Its interior values.
        wanted: The same as another engine computes them.
    """
    limit = rounding(program)
    for node in program.graph:
        for output in node.outputs:
            name = output.name or ""
            pair = wanted.get(name), found.get(name)
            if not all(map(is_numeric, pair)):
                continue
            theirs, ours = where_finite(*pair)
            if noise_to_signal([[theirs]], [[ours]]) > limit:
                return node, _is_undefined(node, {**wanted, **found})
    return None, False


def run_on_onnxruntime(program: Program, feed: Feed, names: Sequence[str]) -> dict[str, Array]:
    """Interior values by name, without the engine's rewrites; empty where it does not run."""
    try:
        session = OrtSession(program.model, optimize=False, extra_outputs=list(names))
        return dict(zip(session.output_names, session.run_checked(feed), strict=True))
    except LoweringError:
        return {}


def run_on_target(target: Target, program: Program, feed: Feed) -> dict[str, Array]:
    """Interior values of the program on the target, by making outputs of them."""
    shown = program.clone()
    known = {output.name for output in shown.graph.outputs}
    for node in shown.graph:
        for output in node.outputs:
            is_tensor = isinstance(output.type, ir.TensorType)
            if output.name and output.name not in known and is_tensor:
                shown.graph.outputs.append(output)
    shown.signature = signature_of(shown.model)
    try:
        values = target.lower(shown).run(feed)
    except QCompilerError:
        return {}
    return dict(zip(shown.signature.output_names, values, strict=True))


def _is_undefined(node: ir.Node, values: Mapping[str, Array]) -> bool:
    """Whether ONNX leaves the result open: Cast of floats that the integer type does not hold."""
    given, to = node.inputs[0] if node.inputs else None, node.outputs[0].dtype
    if not is_op(node, "Cast") or given is None or to is None or not to.is_integer():
        return False
    array = values.get(given.name or "")
    if array is None or array.dtype.kind != "f":
        return False
    limits = np.iinfo(to.numpy())
    return bool(np.any(~np.isfinite(array) | (array <= limits.min - 1) | (array >= limits.max + 1)))
