"""Counting what ONNX Runtime really runs in integers, region by region."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from qcompiler.backends.onnxruntime.renaming import owner_of, owners
from qcompiler.backends.onnxruntime.written import rewritten_outputs
from qcompiler.ir.optraits import traits
from qcompiler.ir.origin import replaced_region
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region, find_regions
from qcompiler.ir.walk import all_nodes
from qcompiler.target.artifact import KernelCount
from qcompiler.target.capability import Kernel
from qcompiler.target.contract import Target

_INTEGER_OPS = frozenset(
    {
        "QGemm", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulInteger", "ConvInteger",
        "DynamicQuantizeLSTM",
    }
)  # fmt: skip
"""Integer kernels whose name does not begin with QLinear."""
_CONVERSIONS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ReorderInput", "ReorderOutput"}
)
_INTEGERS = frozenset({ir.DataType.UINT8, ir.DataType.INT8})


def count_kernels(program: Program, target: Target, optimized: ir.Model) -> KernelCount:
    """Finds every planned integer region in ONNX Runtime's optimized graph.

    A region counts as integer only when an integer kernel is found under one of its names; data
    movers count when they read integers in the program that ONNX Runtime was given. Simulated forms
    are listed by themselves, whatever runs them.
    """
    nodes = list(all_nodes(optimized))
    ops = dict(Counter(node.op_type for node in nodes))
    if program.plan is None:
        return KernelCount(ops=ops)
    # Not target.regions: that leaves out the movers which work on integers by now.
    regions = find_regions(program, target.capabilities.patterns)
    found = _kernels(nodes, owners(program, regions))
    movers = [each for each in regions if _moves_integers(each)]
    moved = {replaced_region(each.anchor) or each.key for each in movers}
    integer, missed, simulated = [], {}, []
    for key, choice in program.plan.choices.items():
        forms = [form for form in target.capabilities.forms if form.precision == choice.precision]
        if choice.precision == FLOAT or any(form.kernel is Kernel.WEIGHT_ONLY for form in forms):
            continue
        if any(form.simulated for form in forms):
            simulated.append(key)
            continue
        reason = None if key in moved else _miss(found.get(key, []))
        if reason is None:
            integer.append(key)
        else:
            missed[key] = reason
    made = set(integer)
    altered = rewritten_outputs([each for each in regions if each.key in made], found)
    return KernelCount(tuple(integer), missed, ops, tuple(simulated), altered)


def _kernels(nodes: Sequence[ir.Node], owner: Mapping[str, str]) -> dict[str, list[ir.Node]]:
    """Nodes of the optimized graph by region, conversions left out."""
    found: dict[str, list[ir.Node]] = {}
    for node in nodes:
        key = None if node.op_type in _CONVERSIONS else owner_of(node, owner)
        if key is not None:
            found.setdefault(key, []).append(node)
    return found


def _miss(kernels: Sequence[ir.Node]) -> str | None:
    """Why the region has no integer kernel, None if it has one."""
    if any(is_integer_kernel(node) for node in kernels):
        return None
    if kernels:
        names = " and ".join(dict.fromkeys(node.op_type for node in kernels))
        return f"ONNX Runtime runs it as {names} in float"
    return "no integer kernel of ONNX Runtime bears its name"


def is_integer_kernel(node: ir.Node) -> bool:
    """Whether a node of the optimized graph computes in integers."""
    return node.op_type.startswith("QLinear") or node.op_type in _INTEGER_OPS


def _moves_integers(region: Region) -> bool:
    """Whether the region gives integers on as they are, or selects among them."""
    kinds = {operand.value.dtype for operand in region.activations} | {region.output.dtype}
    return traits(region.anchor).shares_scale and kinds <= _INTEGERS
