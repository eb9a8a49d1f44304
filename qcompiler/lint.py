"""`qc.lint`: what a runtime rejects in a model, or runs otherwise than meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import onnx
import onnx_ir as ir

from qcompiler.frontends import load
from qcompiler.ir.diagnostics import Diagnostic
from qcompiler.outcome.rows import worst_first
from qcompiler.pipeline.targets import target_of
from qcompiler.target.contract import Target, all_objections

Source = Path | str | onnx.ModelProto | ir.Model


@runtime_checkable
class Linter(Protocol):
    """A target with rules of its own for ONNX models, which it reads as they are."""

    def lint(self, model: Source) -> tuple[Diagnostic, ...]:
        """Findings, the worst first."""

    def fix(self, model: Source) -> tuple[ir.Model, tuple[object, ...]]:
        """A rewritten model and what was done."""


def lint(
    model: object, target: str | Target, *, example_inputs: Any = None
) -> tuple[Diagnostic, ...]:
    """Findings about a model for a target, the worst first; the model is not changed.

    A target with a lint of its own (TensorRT) judges the model as it stands. Any other says which
    regions of the loaded program its capability table refuses and why, and what it would reject.

    Args:
        model: Anything that `load` takes.
        target: Name of a target, `name{option=value}`, or a Target.
        example_inputs: For torch modules, see `load`.

    Raises:
        ModelError: The model cannot be read or captured.
        RegistryError: No target of that name.
    """
    chosen = target_of(target)
    if isinstance(chosen, Linter):
        if isinstance(model, str | Path | onnx.ModelProto | ir.Model):
            return chosen.lint(model)
        return chosen.lint(load(model, example_inputs).model)
    program = load(model, example_inputs)
    found = (*chosen.legality(program), *all_objections(chosen, chosen.regions(program)))
    return tuple(worst_first(found))
