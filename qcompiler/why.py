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
from qcompiler.ir.origin import describe, module_path
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
        node: Name of a node of the loaded model, of a value that it computes, or of a module,
            whose nodes are told one by one.
        target: Name of a target, `name{option=value}`, or a Target.
        example_inputs: For torch modules, see `load`.

    Raises:
        ConfigurationError: There is no such node; near names are given.
        ModelError: The model cannot be read or captured.
    """
    if not isinstance(node, str):
        raise ConfigurationError(
            f"a node is given as a {type(node).__name__}", fix="give its name, a str"
        )
    chosen = target_of(target)
    program = load(model, example_inputs)
    found = [(each.name or "", describe(each)) for each in _named(program, node)]
    if not found:
        raise ConfigurationError(
            f"there is no node or module '{node}'",
            why=_near(program, node),
            fix="`qcompiler inspect MODEL --text` prints every node with its name",
        )
    gone = _rewritten(program, chosen, {name for name, _ in found})
    left = {each.name: each for each in all_nodes(program.model)}
    regions, sizes = chosen.regions(program), size_values(program)
    told: list[str] = []
    for name, shown in found:
        if name in gone:
            taker = f"{gone[name]} took it into another node or folded it"
            told.append(f"{shown} is not there any more: {taker}")
        else:
            told += _reasons(left[name], regions, sizes, chosen)
    return tuple(dict.fromkeys(told))


def _named(program: Program, name: str) -> list[ir.Node]:
    """The node of that name, or that writes the value, or else the nodes of the module."""
    nodes = list(all_nodes(program.model))
    for node in nodes:
        if node.name == name or any(value.name == name for value in node.outputs):
            return [node]
    return [node for node in nodes if f"{module_path(node)}.".startswith(f"{name}.")]


def _near(program: Program, name: str) -> str | None:
    nodes = list(all_nodes(program.model))
    names = dict.fromkeys([*(node.name or "" for node in nodes), *map(module_path, nodes)])
    near = get_close_matches(name, filter(None, names), n=3, cutoff=0.4)
    return f"near names are {', '.join(near)}" if near else None


def _rewritten(program: Program, target: Target, names: set[str]) -> dict[str, str]:
    """Runs the float rewrites; by name of a node that is gone the one that took it away."""
    gone: dict[str, str] = {}
    for step in Pipeline.parse(FLOAT_PIPELINE).passes:
        Pipeline.of(step).run(program, PassContext(target))
        there = {node.name for node in all_nodes(program.model)}
        for name in names - there - set(gone):
            gone[name] = step.name
    return gone


def _reasons(
    node: ir.Node, regions: list[Region], sizes: frozenset[ir.Value], target: Target
) -> Iterator[str]:
    own = next((region for region in regions if node in region.nodes), None)
    if own is not None:
        yield from _of_region(node, own, target)
        yield from _not_absorbed(own, target)
        return
    if target.capabilities.row(node.op_type) is not None:
        yield f"{describe(node)} is no region: {outside_reason(node, sizes, target)}"
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
    forms = target.implementations(region)
    searched = [form.precision for form in forms if form.searched]
    asked = [form.precision for form in forms if not form.searched]
    if searched:
        known = f"{', '.join(searched)} or {FLOAT}"
        yield f"{region} may run as {known}; the search or the scheme chooses"
    if asked:
        yield f"on request, by scheme, plan or override: {', '.join(asked)}"


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
