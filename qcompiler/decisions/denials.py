"""Why regions do not have the form that an override or a scheme asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qcompiler.decisions.options import Options
from qcompiler.decisions.wanted import families
from qcompiler.errors import ConfigurationError, did_you_mean
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.origin import module_path, source_line
from qcompiler.ir.patterns import region_fits
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.regions import Region
from qcompiler.target.capability import Implementation
from qcompiler.target.constraints import weights_are_numbers
from qcompiler.target.contract import Target


def matches_nothing(pattern: str, regions: Sequence[Region]) -> ConfigurationError:
    """Of an override that no region is called by."""
    names = [name for region in regions for name in _names(region)]
    return ConfigurationError(
        f"the override {pattern!r} matches no quantizable region",
        why="it is compared with module paths, node names and op:OpType",
        fix=did_you_mean(
            pattern, dict.fromkeys(names), "`qcompiler inspect MODEL` lists the regions"
        ),
    )


def require_met(pattern: str, precision: str, options: Sequence[Options], target: Target) -> None:
    """An override that no matching region can take is a mistake; one that some can is not."""
    matching = [each for each in options if matches(pattern, each.region)]
    rule = f"{pattern}={precision}"
    if any(rule not in each.unmet for each in matching):
        return
    first = matching[0]
    legal = dict.fromkeys(form.precision for each in matching for form in each.legal)
    names = [FLOAT, *families(legal)]
    raise ConfigurationError(
        f"{precision!r} is not legal for {first.region} on {target.name}",
        where=f"the override {pattern!r}, which matches {len(matching)} regions",
        why="; ".join(first.reasons) or None,
        fix=did_you_mean(precision, names, f"legal here: {', '.join(names)}"),
    )


def unmet_overrides(options: Sequence[Options]) -> list[str]:
    """One sentence for each override that some of its regions cannot take."""
    places: dict[str, list[str]] = {}
    for each in options:
        for rule in each.unmet:
            places.setdefault(rule, []).append(module_path(each.region.anchor) or each.region.key)
    return [
        f"the override {rule} does not apply to {len(names)} regions, which have no such form: "
        + ", ".join(names[:5])
        + (", ..." if len(names) > 5 else "")
        for rule, names in places.items()
    ]


def denials(
    target: Target,
    options: Sequence[Options],
    name: str,
    takes: Callable[[Implementation], bool],
) -> tuple[Diagnostic, ...]:
    """Why no region runs in a form that the scheme `name` takes: findings for each, in order."""
    found: list[Diagnostic] = []
    for each in options:
        found += target.objections(each.region) or [_no_form(target, each, name, takes)]
    return tuple(found)


def _no_form(
    target: Target, options: Options, name: str, takes: Callable[[Implementation], bool]
) -> Diagnostic:
    anchor, table = options.region.anchor, target.capabilities
    about = [
        f"{precision}: {why}"
        for precision, why in options.lacking.items()
        if (form := table.form(options.region.kind, precision)) is not None and takes(form)
    ]
    reason = "; ".join(about) or f"{options.region.kind} has no form {name!r} on {target.name}"
    legal = [each.precision for each in options.legal]
    return Diagnostic(
        Severity.INFO,
        "form",
        reason,
        node=anchor.name,
        source=source_line(anchor),
        hint=f"legal here: {', '.join([FLOAT, *families(legal)])}",
    )


def broken_weights(options: Sequence[Options]) -> list[Diagnostic]:
    """A warning for every region that stays float for a weight that holds NaN or infinity."""
    return [
        Diagnostic(
            Severity.WARNING,
            "WEIGHT01",
            f"{reason}; its region stays float",
            node=each.region.anchor.name,
            source=source_line(each.region.anchor),
            hint="look at the checkpoint: training may have overflowed",
        )
        for each in options
        if (reason := weights_are_numbers(each.region)) is not None
    ]


def _names(region: Region) -> list[str]:
    """What an override may call a region."""
    return [name for name in (region.key, module_path(region.anchor), f"op:{region.kind}") if name]


def matches(pattern: str, region: Region) -> bool:
    """Whether an override means a region."""
    return region_fits(pattern, region.key, module_path(region.anchor), region.kind)
