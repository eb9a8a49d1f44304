"""What a result is compared with: the source on the target, as it came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qcompiler.errors import LoweringError, QCompilerError, first_line
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.measurement.loss import sqnr_db
from qcompiler.target.artifact import Artifact
from qcompiler.target.contract import Target
from qcompiler.target.texts import refuse_texts


@dataclass(frozen=True, eq=False)
class Baseline:
    """The reference of losses and speeds.

    Attributes:
        artifact: It on the target.
        program: What was lowered.
        diagnostics: Why that is not the source as it came, if it is not.
    """

    artifact: Artifact
    program: Program
    diagnostics: tuple[Diagnostic, ...] = ()


def baseline_of(
    target: Target, source: Program, model: object, feeds: Sequence[Feed], plain: Program
) -> Baseline:
    """The source on the target; the float form of a quantized one that the target does not run.

    Args:
        target: Where results run.
        source: As the front end gave it.
        model: What the user gave.
        feeds: Samples to time with.
        plain: The program after the float passes.

    Raises:
        LoweringError: The engine refuses or fails, with whatever exception.
    """
    if plain.absorbed is None:
        return Baseline(_lowered(target, source, model, feeds), source)
    tried = feeds[:1] if target.evidence.judged else ()
    try:
        artifact = _lowered(target, source, model, feeds)
        for feed in tried:
            artifact.lowered.run(feed)
        return Baseline(artifact, source)
    except Exception as error:  # noqa: BLE001 - engines raise what they like; it is told
        told = f"{target.name} does not run the quantized model as it came; results are compared "
        told += f"with its float form ({type(error).__name__}: {first_line(error)})"
        found = Diagnostic(Severity.INFO, "SOURCE02", told)
        return Baseline(_lowered(target, plain, plain, feeds), plain, (found,))


def told_of_float_form(program: Program, loss: float | None) -> tuple[Diagnostic, ...]:
    """What a float result keeps of a quantized source, whose rounding it does without."""
    if program.absorbed is None or not loss:
        return ()
    told = f"the float form keeps {sqnr_db(loss):.1f} dB of the quantized source's outputs; the "
    told += "difference is the source's own quantization"
    return (Diagnostic(Severity.INFO, "SOURCE03", told),)


def _lowered(target: Target, program: Program, model: object, feeds: Sequence[Feed]) -> Artifact:
    if not target.has_texts:
        refuse_texts(program, target.name)
    try:
        return target.baseline(program, model, feeds)
    except QCompilerError:
        raise
    except Exception as error:
        raise LoweringError(
            f"the float program does not run on {target.name}",
            why=f"{type(error).__name__}: {error}",
            fix="take another target, and report the model",
        ) from error
