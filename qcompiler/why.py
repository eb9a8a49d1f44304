"""`qc.why`: why a node runs as it does: the best match that failed, and at what.

The float rewrites are run one by one, so that a node which one of them folds away is told so.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

import onnx_ir as ir

from qcompiler.config import FLOAT_PIPELINE
from qcompiler.decisions.outside import outside_reason
from qcompiler.errors import ConfigurationError
from qcompiler.frontends import load
from qcompiler.ir.indices import size_values
from qcompiler.ir.origin import describe
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region, RegionPattern
from qcompiler.ir.walk import all_nodes, is_constant, is_op, uses
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.pipeline.targets import target_of
from qcompiler.target.contract import Target


def why(
    model: object, node: str, target: str | Target = "onnxruntime", *, example_inputs: Any = None
) -> tuple[str, ...]:
    """Why a node runs as it does on a target, in sentences, the decisive one first.

    Args:
        model: Anything that `load` takes.
        node: Name of a node of the loaded model, or of a value that it computes.
        target: Name of a target, `name{option=value}`, or a Target.
        example_inputs: For torch modules, see `load`.

    Raises:
        ConfigurationError: There is no such node; near names are given.
        ModelError: The model cannot be read or captured.
    """
    chosen = target_of(target)
    program = load(model, example_inputs)
    found = _node(program, node)
    if found is None:
        raise ConfigurationError(
            f"there is no node '{node}'",
            why=_near(program, node),
            fix="`qcompiler inspect MODEL --text` prints every node with its name",
        )
    shown = describe(found)
    gone = _rewritten(program, chosen, found.name or "")
    if gone is not None:
        return (f"{shown} is not there any more: {gone} took it into another node or folded it",)
    left = _node(program, found.name or "")
    assert left is not None
    return tuple(_reasons(left, program, chosen))


def _node(program: Program, name: str) -> ir.Node | None:
    for node in all_nodes(program.model):
        if node.name == name or any(value.name == name for value in node.outputs):
            return node
    return None


def _near(program: Program, name: str) -> str | None:
    names = [node.name or "" for node in all_nodes(program.model)]
    near = get_close_matches(name, names, n=3, cutoff=0.4)
    return f"near names are {', '.join(near)}" if near else None


def _rewritten(program: Program, target: Target, name: str) -> str | None:
    """Runs the float rewrites; the first one after which the node is gone."""
    for step in Pipeline.parse(FLOAT_PIPELINE).passes:
        Pipeline.of(step).run(program, PassContext(target))
        if all(node.name != name for node in all_nodes(program.model)):
            return step.name
    return None


def _reasons(node: ir.Node, program: Program, target: Target) -> Iterator[str]:
    regions = target.regions(program)
    own = next((region for region in regions if node in region.nodes), None)
    if own is not None:
        yield from _of_region(node, own, target)
        yield from _not_absorbed(own, target)
        return
    if target.capabilities.row(node.op_type) is not None:
        yield f"{describe(node)} is no region: {outside_reason(node, size_values(program), target)}"
    else:
        yield f"{target.name} has no integer kernel for {node.op_type}: it runs in float"
    yield from _not_taken(node, regions, target)
    if is_op(node, "BatchNormalization"):
        yield _not_folded(node)


def _of_region(node: ir.Node, region: Region, target: Target) -> Iterator[str]:
    if node is not region.anchor:
        yield f"{describe(node)} runs inside {region}"
    objections = target.objections(region)
    for found in objections:
        source = f" ({found.reference})" if found.reference else ""
        yield f"{region} stays float on {target.name}: {found.message} [{found.rule}]{source}"
    forms = [form.precision for form in target.implementations(region)]
    if forms:
        yield f"{region} may run as {', '.join([*forms, FLOAT])}; the search or the scheme chooses"


def _not_absorbed(region: Region, target: Target) -> Iterator[str]:
    """What stands behind a region and could have been part of it."""
    pattern = _pattern(target, region.kind)
    wanted = {op for epilogue in pattern.epilogues for op in epilogue.ops} if pattern else set()
    last = region.nodes[-1]
    for use in uses(region.output):
        if use.node.op_type in wanted and use.node not in region.nodes:
            yield f"{describe(use.node)} behind it is not absorbed: {_refusal(last, use.node)}"


def _not_taken(node: ir.Node, regions: list[Region], target: Target) -> Iterator[str]:
    """Regions in front of a node that absorb its op elsewhere."""
    sources = [value.producer() for value in node.inputs if value is not None]
    for region in regions:
        pattern = _pattern(target, region.kind)
        if pattern is None or region.nodes[-1] not in sources:
            continue
        if any(node.op_type in epilogue.ops for epilogue in pattern.epilogues):
            yield f"{region} does not absorb it: {_refusal(region.nodes[-1], node)}"


def _pattern(target: Target, kind: str) -> RegionPattern | None:
    row = target.capabilities.row(kind)
    return None if row is None else row.pattern


def _refusal(last: ir.Node, user: ir.Node) -> str:
    """Why a kernel that ends at `last` does not take in `user`."""
    value = last.outputs[0]
    readers = {use.node.name for use in uses(value)}
    if value.is_graph_output():
        return f"'{value.name}' between them is an output of the model"
    if len(readers) > 1:
        return f"'{value.name}' between them is read by {len(readers)} nodes"
    if user.graph is not last.graph:
        return "it lies in another graph"
    return "its attributes, its other operand or its place in the order are not what a kernel takes"


def _not_folded(node: ir.Node) -> str:
    """Why a BatchNormalization is still there."""
    statistics = node.inputs[1:5]
    if any(not is_constant(value) for value in statistics):
        return "it is not folded: its statistics are computed at run time"
    source = node.inputs[0].producer() if node.inputs[0] is not None else None
    if source is None or not is_op(source, "Conv", "ConvTranspose", "Gemm", "MatMul"):
        before = "an input" if source is None else describe(source)
        return f"it is not folded: in front of it is {before}, which has no weight to take it"
    return f"it is not folded: {_refusal(source, node)}"
