"""`Verification`: what the comparison of an artifact with the integer reference found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qcompiler.errors import VerificationError
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.markup import MOST_ROWS, block
from qcompiler.printable import one_line
from qcompiler.target.arithmetic import Tolerance


@dataclass(frozen=True)
class RegionCheck:
    """One region over all samples.

    Attributes:
        region: Its key.
        ops: Its ops, such as `Conv+Relu`.
        lsb: How many elements differ by how many steps of the output (0 included).
        tolerance: What the engine is allowed for this op; None takes that of the whole.
    """

    region: str
    ops: str
    lsb: Mapping[int, int]
    tolerance: Tolerance | None = None

    @property
    def elements(self) -> int:
        return sum(self.lsb.values())

    @property
    def worst(self) -> int:
        """Largest difference in steps."""
        return max(self.lsb, default=0)


@dataclass(frozen=True)
class Verification:
    """What the comparison of an artifact with the integer reference found.

    Attributes:
        target: Name of the target.
        tolerance: Steps by which the target may differ.
        checked: Regions that were compared.
        unchecked: Regions that were not, with the reason.
        missed: Regions meant to be integer that the engine runs in float, with the reason.
        integer: How many planned regions the engine runs in integers.
        simulated: How many it computes in float between quantizations, as their form says.
        problems: Failures that concern the whole artifact.
    """

    target: str
    tolerance: int
    checked: tuple[RegionCheck, ...] = ()
    unchecked: Mapping[str, str] = field(default_factory=dict)
    missed: Mapping[str, str] = field(default_factory=dict)
    integer: int = 0
    simulated: int = 0
    problems: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[RegionCheck, ...]:
        """Regions beyond the tolerance."""
        default = Tolerance(self.tolerance)
        return tuple(
            each for each in self.checked if not (each.tolerance or default).allows(each.lsb)
        )

    @property
    def ok(self) -> bool:
        """Whether every compared region is within tolerance and nothing else is wrong.

        Not where there were regions to compare and no samples to do it with: then nobody knows.
        """
        return not self.failed and not self.problems and not self.lacks_samples

    @property
    def lacks_samples(self) -> bool:
        """Whether nothing was compared for want of samples."""
        return not self.checked and NO_SAMPLES in self.unchecked.values()

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Errors, then the regions that run in float against the plan."""
        found = [Diagnostic(Severity.ERROR, "VERIFY01", each) for each in self.problems]
        found += [
            Diagnostic(
                Severity.ERROR,
                "VERIFY02",
                f"{each.ops} differs from the integer reference by up to {each.worst} steps "
                f"({_share(each)} of the elements)",
                node=each.region,
            )
            for each in self.failed
        ]
        found += [
            Diagnostic(Severity.WARNING, "VERIFY03", why, node=key)
            for key, why in self.missed.items()
        ]
        return tuple(found)

    @property
    def summary(self) -> str:
        """The outcome in one line."""
        if self.lacks_samples:
            return f"nothing was checked: {NO_SAMPLES}; give verify() some"
        elements = sum(each.elements for each in self.checked)
        worst = max((each.worst for each in self.checked), default=0)
        return (
            f"{'ok' if self.ok else 'FAILED'}: {len(self.checked)} regions compared with the "
            f"integer reference on {self.target}, {elements} elements, "
            f"worst difference {worst} LSB (allowed {self._allowed})"
            + (f"; {self.simulated} regions are simulated in float" if self.simulated else "")
        )

    @property
    def _allowed(self) -> int:
        """Steps allowed to the most tolerant of the compared regions."""
        given = [each.tolerance.steps for each in self.checked if each.tolerance is not None]
        return max([self.tolerance, *given])

    def require(self) -> Verification:
        """Itself, if it is ok.

        Raises:
            VerificationError: It is not; the error carries the diagnostics.
        """
        if self.ok:
            return self
        errors = [each for each in self.diagnostics if each.severity is Severity.ERROR]
        raise VerificationError(
            f"the artifact for {self.target} differs from the integer reference",
            errors,
            fix="keep the named regions float with an override, and report the model",
        )

    def __repr__(self) -> str:
        return f"<Verification {one_line(self.summary)}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the outcome, what is wrong, the regions that differ most."""
        differing = sorted((each for each in self.checked if each.worst), key=lambda c: -c.worst)
        rows = [(each.region, each.ops, each.worst, _share(each)) for each in differing]
        wrong = [str(each) for each in self.diagnostics[:MOST_ROWS]]
        left = [f"{len(self.unchecked)} regions were not compared"] if self.unchecked else []
        head = ("region", "ops", "worst, in steps", "elements that differ")
        note = "verification.text()"
        return block(self.summary, [*wrong, *left], [(head, rows)], note=note)

    def text(self) -> str:
        """A summary line, then what differs, what was missed and what was not checked."""
        lines = [self.summary]
        lines += [f"  {each}" for each in self.diagnostics]
        lines += [
            f"  {check.region}: {steps} LSB in {count} of {check.elements}"
            for check in self.checked
            for steps, count in sorted(check.lsb.items())
            if steps
        ]
        for why in dict.fromkeys(self.unchecked.values()):
            keys = [key for key, reason in self.unchecked.items() if reason == why]
            lines.append(f"  not checked, {why}: {', '.join(keys)}")
        return "\n".join(lines)


NO_SAMPLES = "there are no samples"


def _share(check: RegionCheck) -> str:
    return f"{1 - check.lsb.get(0, 0) / max(check.elements, 1):.2%}"
