"""The float program against its source: the model itself, run once where it comes from.

Whatever an import, a translation or an engine gets wrong in float is seen here and nowhere else:
all losses are counted from the target's own float run. Rounding is told from faults by size. A
float32 network keeps far more than 60 dB of its own result; where it does not, the source is run
again, and on inputs shaken in their last bits, to see whether it determines its outputs at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
import onnx_ir as ir

from qcompiler.errors import LoweringError, QCompilerError, SourceError
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.origin import describe, source_line
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed, arrays_of
from qcompiler.ir.walk import DRAWING, all_nodes, is_op
from qcompiler.measurement.first_difference import (
    first_difference,
    run_on_onnxruntime,
    run_on_target,
)
from qcompiler.measurement.float_agreement import float_loss, float_losses, rounding, shaken
from qcompiler.measurement.loss import agreement_loss, sqnr_db
from qcompiler.measurement.output_types import misfit
from qcompiler.measurement.parts import Slicer
from qcompiler.measurement.slices import OutputSlices
from qcompiler.measurement.sources import Source
from qcompiler.target.contract import Target

Array = npt.NDArray[Any]
Run = Callable[[Feed], Sequence[Any]]
_LABELS = 0.01
"""Share of labels that may flip where two of them tie to the last bits."""
_MORE_THAN_SHAKEN = 1e3


@dataclass(eq=False)
class SourceCheck:
    """Compares float artifacts with the source.

    Attributes:
        source: The model as it came; None where it cannot be run.
        program: What the front end made of it.
        target: Where artifacts run.
        feeds: What to run; one or two.
        slicer: Of the program.
        diagnostics: Why outputs could not be compared, if they could not.
        resized: A feed of another batch size, which the source need not take.
    """

    source: Source | None
    program: Program
    target: Target
    feeds: Sequence[Feed]
    slicer: Slicer
    diagnostics: list[Diagnostic] = field(default_factory=list)
    resized: Feed | None = None
    _wanted: list[list[Any]] | None = None
    _slices: list[OutputSlices] = field(default_factory=list)

    def check(self, program: Program, run: Run) -> None:
        """Runs a float program, which `run` does on the target, and compares.

        Raises:
            SourceError: They differ by more than rounding; names the first node that does.
        """
        wanted = self._reference()
        if not wanted:
            return
        found = [self._found(run, feed) for feed in self.feeds]
        worst = self._worst(found)
        if worst is None:
            self._require_types(wanted, found)
            return
        excuse = self._excuse(worst[1])
        node, undefined = (None, False) if excuse else self._first_difference(program)
        if node is not None and undefined:
            excuse = f"{describe(node)} makes integers of numbers out of their range, which ONNX "
            excuse += "leaves open"
        if excuse is not None:
            self._tell(f"the float program was not compared with its source: {excuse}", node)
            return
        raise SourceError(
            f"on {self.target.name} the float program computes something else than its source",
            where=describe(node) if node is not None else None,
            why=self._what(worst, wanted, found)
            + ("; this is the first node that differs" if node is not None else "")
            + self._size_note(found),
            fix="export the model to ONNX another way, or take another target, and report it",
        )

    def _what(
        self, worst: tuple[str, float], wanted: list[list[Any]], found: list[list[Any]]
    ) -> str:
        """How the worst output differs."""
        other = misfit(wanted, found, typed=False)
        if other is None:
            return f"output '{worst[0]}' keeps {sqnr_db(worst[1]):.1f} dB of the source's"
        return f"output '{self.program.signature.output_names[other[0]]}' {other[1]}"

    def _require_types(self, wanted: list[list[Any]], found: list[list[Any]]) -> None:
        """Equal numbers of another type are another result to whoever calls it."""
        assert self.source is not None
        other = misfit(wanted, found, self.source.typed)
        if other is None:
            return
        position, difference = other
        name = self.program.signature.output_names[position]
        raise SourceError(
            f"on {self.target.name} the float program returns something else than its source",
            where=_maker(self.program, position),
            why=f"output '{name}' {difference}",
            fix="give the model's inputs in its own types, or convert its output to float32, and "
            "report it",
        )

    def _size_note(self, found: Sequence[Sequence[Any]]) -> str:
        """Said where the example's own size is right."""
        if self.resized is None or self.feeds[-1] is not self.resized:
            return ""
        if self._worst(found[:-1]) is not None:
            return ""
        return f"; only with another batch size than the example's, {_sizes(self.resized)}"

    def _found(self, run: Run, feed: Feed) -> list[Any]:
        """Outputs of the float program.

        Raises:
            LoweringError: It does not run.
        """
        try:
            return list(run(feed))
        except Exception as error:
            if feed is not self.resized and isinstance(error, QCompilerError):
                raise
            raise LoweringError(
                f"the float program does not run on {self.target.name}",
                where=None if feed is not self.resized else _sizes(feed),
                why=f"{type(error).__name__}: {error}",
                fix="take another target, or load the model with dynamic=False if other sizes "
                "than the example's fail",
            ) from error

    def _reference(self) -> list[list[Any]]:
        """The source's outputs; empty where there is nothing to compare with."""
        if self._wanted is None:
            self._wanted = []
            if self.source is None:
                return []
            try:
                self._wanted = [list(self.source.run(feed)) for feed in self.feeds]
                self._wanted += self._of_resized()
                self._slices = self.slicer(self.feeds, self._wanted)
            except LoweringError as error:
                self._tell(f"the float program was not compared with its source: {error.why}")
            self.source.release()  # its outputs are known; it runs again only if others differ
        return self._wanted

    def _of_resized(self) -> list[list[Any]]:
        """The source's outputs for the feed of another size, if it takes that."""
        if self.resized is None or self.source is None:
            return []
        try:
            found = list(self.source.run(self.resized))
        except LoweringError:
            return []
        self.feeds = (*self.feeds, self.resized)
        return [found]

    def _tell(self, message: str, node: ir.Node | None = None) -> None:
        name = node.name if node is not None else None
        line = source_line(node) if node is not None else None
        found = Diagnostic(Severity.INFO, "SOURCE01", message, node=name, source=line)
        if found not in self.diagnostics:
            self.diagnostics.append(found)

    def _worst(self, found: Sequence[Sequence[Any]]) -> tuple[str, float] | None:
        """Name and loss of the output that differs most; None where all are within rounding.

        Args:
            found: Outputs of the first feeds.
        """
        assert self._wanted is not None
        count = len(found)
        slices = [each.first(count) for each in self._slices]
        losses = float_losses(self._wanted[:count], found, slices)
        limit = rounding(self.program, self.target.floats)
        worst: tuple[str, float] | None = None
        names = self.program.signature.output_names
        for name, loss, each in zip(names, losses, slices, strict=False):
            allowed = max(limit, agreement_loss(_LABELS)) if any(each.labels) else limit
            if loss > allowed and (worst is None or loss > worst[1]):
                worst = name, loss
        return worst

    def _excuse(self, loss: float) -> str | None:
        """Why the source's outputs may differ, None if it determines them."""
        drawn = [node for node in all_nodes(self.program.model) if is_op(node, *DRAWING)]
        if drawn:
            return f"{describe(drawn[0])} draws random numbers"
        assert self._wanted is not None
        assert self.source is not None
        again = [list(self.source.run(feed)) for feed in self.feeds]
        if float_loss(self._wanted, again, self._slices) > rounding(
            self.program, self.target.floats
        ):
            return "the source gives other results at every run"
        try:
            moved = [list(self.source.run(shaken(feed))) for feed in self.feeds]
        except LoweringError:
            return None
        noise = float_loss(self._wanted, moved, self._slices)
        if noise > 0 and loss <= _MORE_THAN_SHAKEN * noise:
            return "it turns changes in the last bits of its inputs into large ones"
        return None

    def _first_difference(self, program: Program) -> tuple[ir.Node | None, bool]:
        """The first node in graph order whose result differs, and if ONNX leaves that open.

        If ONNX Runtime computes of the program what the source does, the engine is wrong, and its
        values are compared with ONNX Runtime's; else those of ONNX Runtime with the source's.
        """
        feed, own = self.feeds[0], self.program
        names = [output.name or "" for node in own.graph for output in node.outputs if output.name]
        plain = run_on_onnxruntime(own, feed, names)
        right = [plain[name] for name in own.signature.output_names if name in plain]
        if len(right) == len(own.signature.outputs) and self._worst([right]) is None:
            return first_difference(program, run_on_target(self.target, program, feed), plain)
        found = plain or run_on_target(self.target, own, feed)
        assert self.source is not None
        return first_difference(own, found, self.source.values(feed, names))


def _sizes(feed: Feed) -> str:
    return ", ".join(f"'{name}' {list(array.shape)}" for name, array in arrays_of(feed))


def _maker(program: Program, position: int) -> str | None:
    """The node that an output comes from."""
    outputs = program.model.graph.outputs
    node = outputs[position].producer() if position < len(outputs) else None
    return None if node is None else describe(node)
