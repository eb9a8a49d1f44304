"""Passes and rewrite rules of other projects as ours: `onnx_ir.passes`, `onnxscript.rewriter`.

What they report about themselves is not used: edits are the difference of the graph before and
after.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir
from onnx_ir.passes import PassBase

from qcompiler.errors import PipelineError
from qcompiler.ir.edits import EditCounts
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_graphs
from qcompiler.pipeline.contract import Outcome, Pass, PassContext

_REWRITER = "onnxscript.rewriter"


@dataclass(frozen=True)
class OnnxIrPass(Pass):
    """Runs a pass of `onnx_ir.passes` (in place or functional).

    Attributes:
        inner: The pass, such as `onnx_ir.passes.common.CommonSubexpressionEliminationPass()`.
    """

    name = "onnx-ir"
    inner: PassBase

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        before = _Snapshot.of(program.model)
        result = self.inner(program.model)
        program.model = result.model
        _measure(before, program.model, rewriter.counts, str(self))
        details = {"inner": type(self.inner).__name__, "claimed_modified": result.modified}
        return Outcome(details=details)

    def __str__(self) -> str:
        return f"<{self.name} {type(self.inner).__name__}>"


@dataclass(frozen=True)
class RewriteRules(Pass):
    """Applies `onnxscript.rewriter` rules, once over the graph.

    Attributes:
        rules: A `RewriteRuleSet`, a rule, a `RewriteRuleClassBase` subclass, or a sequence.
    """

    name = "rewrite-rules"
    rules: Any

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        before = _Snapshot.of(program.model)
        count = _rule_set(self.rules).apply_to_model(program.model)
        _measure(before, program.model, rewriter.counts, str(self))
        return Outcome(details={"claimed_matches": int(count or 0)})

    def __str__(self) -> str:
        return f"<{self.name} {type(self.rules).__name__}>"


def as_pass(item: Any) -> Pass:
    """The item itself if it is a `Pass`, else its adapter.

    Raises:
        PipelineError: Neither a pass, nor one of onnx-ir, nor rules of onnxscript.
    """
    if isinstance(item, Pass):
        return item
    if isinstance(item, PassBase):
        return OnnxIrPass(item)
    if _is_rules(item):
        return RewriteRules(item)
    raise PipelineError(
        f"a {type(item).__name__} is no pass",
        where=repr(item),
        fix="give a qcompiler.Pass instance, an onnx_ir pass, or onnxscript rewrite rules",
    )


def _is_rules(item: Any) -> bool:
    """Whether onnxscript's rewriter takes it; the rewriter is not imported to find out."""
    rewriter = sys.modules.get(_REWRITER)
    if rewriter is None:
        return False
    if isinstance(item, Sequence) and not isinstance(item, str):
        return bool(item) and all(_is_rules(each) for each in item)
    if isinstance(item, type):
        return issubclass(item, rewriter.RewriteRuleClassBase)
    return isinstance(item, rewriter.RewriteRuleSet | rewriter.RewriteRule)


def _rule_set(rules: Any) -> Any:
    from onnxscript.rewriter import (  # seconds to import
        RewriteRule,
        RewriteRuleClassBase,
        RewriteRuleSet,
    )

    if isinstance(rules, RewriteRuleSet):
        return rules
    listed: Iterable[Any] = rules if isinstance(rules, Sequence) else (rules,)
    flat: list[RewriteRule] = []
    for each in listed:
        if isinstance(each, RewriteRuleSet):
            flat.extend(each)
        elif isinstance(each, type) and issubclass(each, RewriteRuleClassBase):
            flat.append(each.rule())  # type: ignore[no-untyped-call]
        else:
            flat.append(each)
    return RewriteRuleSet(flat)


@dataclass
class _Snapshot:
    """The content of every node by its first output's name, and the constants by name."""

    nodes: dict[str, tuple[object, ...]] = field(default_factory=dict)
    constants: dict[str, int] = field(default_factory=dict)
    interface: tuple[object, ...] = ()

    @classmethod
    def of(cls, model: ir.Model) -> _Snapshot:
        taken = cls(interface=_interface(model))
        for graph in all_graphs(model):
            for node in graph:
                key = (node.outputs[0].name if node.outputs else node.name) or f"#{id(node)}"
                taken.nodes[key] = _content(node)
            for name, value in graph.initializers.items():
                taken.constants[name] = id(value.const_value)
        return taken


def _content(node: ir.Node) -> tuple[object, ...]:
    attributes = tuple(
        (name, repr(each.value))
        for name, each in sorted(node.attributes.items())
        if each.type not in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    )
    inputs = tuple(value.name if value is not None else None for value in node.inputs)
    outputs = tuple((value.name, value.dtype, str(value.shape)) for value in node.outputs)
    extra = tuple(sorted(node.metadata_props.items()))
    return (node.domain, node.op_type, node.name, inputs, outputs, attributes, extra)


def _interface(model: ir.Model) -> tuple[object, ...]:
    values = [*model.graph.inputs, *model.graph.outputs]
    return (
        tuple((value.name, value.dtype, str(value.shape)) for value in values),
        tuple(sorted(model.opset_imports.items())),
        tuple(sorted(model.metadata_props.items())),
    )


def _measure(before: _Snapshot, model: ir.Model, counts: EditCounts, who: str) -> None:
    """Adds the difference to `counts`: new, gone and changed nodes, constants, interface."""
    after = _Snapshot.of(model)
    shared = before.nodes.keys() & after.nodes.keys()
    counts.inserted += len(after.nodes.keys() - shared)
    counts.erased += len(before.nodes.keys() - shared)
    counts.attributes += sum(before.nodes[key] != after.nodes[key] for key in shared)
    counts.attributes += before.interface != after.interface
    counts.constants += len(before.constants.items() ^ after.constants.items())
