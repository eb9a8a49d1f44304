"""A saved artifact checked again: its digests, its kernels, its integers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qcompiler.artifacts import load_compiled
from qcompiler.compiled import Compiled
from qcompiler.execution.verification import Verification
from qcompiler.ir.origin import replaced_region
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.walk import all_nodes
from qcompiler.pipeline.contract import Progress


@dataclass(frozen=True)
class ArtifactCheck:
    """What was found in an artifact.

    Attributes:
        target: Name of the target that it was written for.
        planned: Quantized regions of its plan; 0 where it holds no plan.
        integer: Of these, how many the engine of this machine runs in integers.
        simulated: How many it computes in float, as their form says.
        missed: Planned regions that it runs in float against the plan, with the reason.
        problems: What is wrong.
        compared: The comparison with the integer reference; None without samples.
        notes: What was not checked, and why.
    """

    target: str
    planned: int
    integer: int
    simulated: int
    missed: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    compared: Verification | None = None
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all that was checked is as it was saved."""
        return not (self.missed or self.problems) and (self.compared is None or self.compared.ok)

    def text(self) -> str:
        """The outcome, then a line for each finding."""
        lines = [f"{'ok' if self.ok else 'NOT OK'}: artifact for {self.target}"]
        lines.append(
            f"{self.planned} quantized regions, {self.integer} run in integers here"
            + (f", {self.simulated} simulated" if self.simulated else "")
        )
        lines += [f"runs in float: {key}: {why}" for key, why in self.missed.items()]
        lines += [f"problem: {each}" for each in self.problems]
        if self.compared is not None:
            lines.append(self.compared.text().rstrip())
        lines += [f"note: {each}" for each in self.notes]
        return "\n".join(lines)


def check_artifact(
    path: Path | str,
    feeds: Iterable[Any] | None = None,
    target: str | None = None,
    *,
    progress: bool | Progress = False,
) -> ArtifactCheck:
    """Opens an artifact and checks it on the engine of this machine.

    Args:
        path: What `Compiled.save` wrote.
        feeds: Samples to compare every region with the integer reference on; none by default.
        target: Name of the target it was saved for; by default the file tells.
        progress: As that of `compile`.

    Raises:
        ArtifactError: Not readable, or plan, graph or weights are not those that were saved.
        FeedError: A feed does not fit.
    """
    compiled = load_compiled(path, target)
    planned = [key for key, each in compiled.plan.precisions.items() if each != FLOAT]
    kernels = compiled.kernels
    held = _held(compiled)
    lost = [key for key in planned if key not in held]
    return ArtifactCheck(
        compiled.target.name,
        len(planned),
        len(set(kernels.integer) & set(planned)),
        len(kernels.simulated),
        dict(kernels.missed),
        tuple(f"the plan names '{key}', which the file does not hold" for key in lost),
        None if feeds is None else compiled.verify(feeds, progress=progress),
        tuple(_notes(compiled, feeds is not None)),
    )


def _held(compiled: Compiled) -> set[str]:
    """Regions of the file, and those that other nodes stand for: dynamic forms, blocks of bits."""
    found = {row.region for row in compiled.report.regions}
    replaced = map(replaced_region, all_nodes(compiled.program.model))
    return found | {key for key in replaced if key is not None}


def _notes(compiled: Compiled, compared: bool) -> list[str]:
    notes = [] if compiled.plan.choices else ["the file holds no plan to compare kernels with"]
    if not compiled.program.provenance.content:
        notes.append("the file holds no digest of its graph and weights: they were not compared")
    if not compared:
        notes.append("integers were not compared with the reference: give data")
    return notes
