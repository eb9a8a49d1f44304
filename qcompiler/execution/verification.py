"""`Verification`: the engine's own integers compared with the integer reference, region by region.

Each region is given the integers that the engine really fed it, so a difference is the region's
own and does not spread: a wrong layer is named, not everything behind it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qcompiler.decisions.forms import SIMULATED
from qcompiler.errors import VerificationError
from qcompiler.execution.integer.comparison import Check, Comparison, StaticCheck
from qcompiler.execution.integer.dynamic import dynamic_checks
from qcompiler.execution.integer.extraction import extract
from qcompiler.execution.integer.recurrent_forms import recurrent_checks
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.ir.walk import all_nodes, is_op
from qcompiler.markup import MOST_ROWS, block
from qcompiler.printable import one_line
from qcompiler.target.arithmetic import Arithmetic, Tolerance
from qcompiler.target.artifact import Artifact, KernelCount
from qcompiler.target.contract import Target
from qcompiler.target.placement import lowered_regions


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
        return not self.checked and _NO_SAMPLES in self.unchecked.values()

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
            return f"nothing was checked: {_NO_SAMPLES}; give verify() some"
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


_NO_SAMPLES = "there are no samples"
_UNPLANNED = "nothing was compared: the program is quantized and does not say which regions are"


def _share(check: RegionCheck) -> str:
    return f"{1 - check.lsb.get(0, 0) / max(check.elements, 1):.2%}"


def verify_artifact(
    program: Program,
    target: Target,
    artifact: Artifact,
    feeds: Sequence[Feed],
    kernels: KernelCount | None = None,
    rows: int | None = None,
    seconds: float = math.inf,
) -> Verification:
    """Compares what the engine computes with the integer reference.

    Args:
        program: The lowered program, Q/DQ explicit.
        target: Declares the tolerance.
        artifact: Runs; must offer `tap` for anything to be compared.
        feeds: Samples to run.
        kernels: What the engine runs, if it was counted before.
        rows: Compare at most this many rows (axis 0) where rows do not depend on each other.
        seconds: Time for the comparisons; the cheapest regions come first if it is limited.
    """
    count = artifact.kernels() if kernels is None else kernels
    found, unchecked = _quantized(program, target, {*count.missed, *count.simulated})
    unchecked |= dict.fromkeys(count.simulated, SIMULATED)
    ready = {key: each for key, each in found.items() if _is_visible(each, program)}
    unchecked |= {key: "it is inside a loop or branch" for key in found if key not in ready}
    if ready and not feeds:
        unchecked |= dict.fromkeys(ready, _NO_SAMPLES)
        ready = {}
    comparison = Comparison(ready, rows, seconds)
    runs = artifact.tap(feeds, comparison.taps) if ready else iter(())
    if runs is None:
        unchecked |= dict.fromkeys(ready, "the engine shows no interior values")
    else:
        for feed, values in zip(feeds, runs, strict=False):
            comparison.take({**feed, **values})
        unchecked |= comparison.skipped
    checks = [
        RegionCheck(
            key,
            ready[key].ops,
            lsb,
            _tolerance(ready[key], target.arithmetic),
        )
        for key, lsb in comparison.found.items()
    ]
    return Verification(
        target.name,
        target.tolerance_lsb,
        tuple(checks),
        unchecked,
        count.missed,
        len(count.integer),
        len(count.simulated),
        (*_problems(count), *([_UNPLANNED] if is_unplanned(program) else [])),
    )


def is_unplanned(program: Program) -> bool:
    """Whether it is quantized without a plan, as files of other tools are."""
    nodes = all_nodes(program.model)
    return program.plan is None and any(
        is_op(node, "QuantizeLinear", "DequantizeLinear") for node in nodes
    )


def _tolerance(check: Check, rules: Arithmetic) -> Tolerance | None:
    """None for what the target's own applies to; a derived bound leaves nothing to tolerate."""
    return rules.tolerances.get(check.kind) if isinstance(check, StaticCheck) else Tolerance(0)


def _problems(count: KernelCount) -> tuple[str, ...]:
    """No integer kernel at all where some were meant is an error, not a diagnostic.

    So is a kernel on another grid than the program's: interior values do not always show it.
    """
    found = [f"'{key}': {why}" for key, why in count.altered.items()]
    if count.missed and not count.integer:
        found.append(
            f"none of the {len(count.missed)} regions meant to be integer runs in integers"
        )
    return tuple(found)


def _quantized(
    program: Program, target: Target, left_out: set[str]
) -> tuple[dict[str, Check], dict[str, str]]:
    """Regions of the plan that can be compared, and those that cannot with the reason."""
    planned = {} if program.plan is None else program.plan.choices
    keys = {key for key, choice in planned.items() if choice.precision != FLOAT} - left_out
    choose = target.arithmetic.dynamic
    found: dict[str, Check] = dict(dynamic_checks(program, keys, choose))
    found |= recurrent_checks(program, keys, choose)
    keys -= set(found)
    unchecked: dict[str, str] = {}
    for region in lowered_regions(program, target):
        if region.key not in keys:
            continue
        keys.remove(region.key)
        each = extract(region, target.arithmetic)
        if isinstance(each, str):
            unchecked[region.key] = each
        else:
            rule = target.arithmetic.tolerances.get(region.kind)
            found[region.key] = StaticCheck(each, rule is not None and rule.ties)
    for key in sorted(keys):
        unchecked[key] = "its activations are quantized at run time, inside the kernel"
    return found, unchecked


def _is_visible(each: Check, program: Program) -> bool:
    return all(value.graph is program.graph for value in each.values)
