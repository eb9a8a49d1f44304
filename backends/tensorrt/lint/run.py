"""Runs the rules over a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx_ir as ir

from qcompiler.backends.tensorrt.lint.rule import Finding, Rule, Verdict
from qcompiler.backends.tensorrt.lint.table import RULES
from qcompiler.backends.tensorrt.lint.view import View
from qcompiler.frontends.onnx_file import raw_model
from qcompiler.ir.diagnostics import Diagnostic
from qcompiler.ir.origin import describe, source_line

Model = ir.Model | onnx.ModelProto | Path | str


def lint(model: Model, compute_capability: int = 86) -> tuple[Diagnostic, ...]:
    """What TensorRT rejects, runs in float or runs otherwise than ONNX says, and advice.

    Needs no NVIDIA package. Sources of the rules: `qcompiler.backends.tensorrt.lint.table`.

    Args:
        model: An ONNX model or its path, quantized by any tool, of any opset.
        compute_capability: SM number of the GPU, such as 86.

    Returns:
        Diagnostics, worst rules first: ERROR rejected, WARNING runs in float or with other
        numerics, INFO advice; with rule id, node, source line, hint and reference.

    Raises:
        UnreadableModelError: The path is no readable ONNX file.
    """
    view = View(as_model(model), compute_capability)
    order = list(Verdict)
    found = sorted(_findings(view), key=lambda pair: order.index(_verdict(*pair)))
    return tuple(_diagnostic(rule, each) for rule, each in found)


def float_nodes(model: Model, compute_capability: int = 86) -> frozenset[str]:
    """Names of weighted nodes that are meant to be quantized but will run in float."""
    view = View(as_model(model), compute_capability)
    return frozenset(
        each.node.name or ""
        for rule, each in _findings(view)
        if _verdict(rule, each) is Verdict.FLOAT and each.node is not None
    )


def as_model(model: Model) -> ir.Model:
    """Reads a file or protobuf; an onnx-ir model is returned as it is.

    Raises:
        UnreadableModelError: The path is no readable ONNX file.
    """
    if isinstance(model, ir.Model):
        return model
    return raw_model(Path(model) if isinstance(model, str) else model)


def _findings(view: View) -> Iterator[tuple[Rule, Finding]]:
    return ((rule, each) for rule in RULES for each in rule.check(view))


def _verdict(rule: Rule, found: Finding) -> Verdict:
    return found.verdict or rule.verdict


def _diagnostic(rule: Rule, found: Finding) -> Diagnostic:
    verdict = _verdict(rule, found)
    node = found.node
    where = f"{describe(node)}: " if node is not None else ""
    return Diagnostic(
        severity=verdict.severity,
        rule=rule.id,
        message=f"{verdict.words}: {where}{found.message}",
        node=node.name if node is not None else None,
        source=source_line(node) if node is not None else None,
        hint=rule.hint,
        reference=rule.reference,
    )
