"""What every region may run as: legal implementations, narrowed by data and by the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from qcompiler.decisions.offers import Offer, missing_data, need_of
from qcompiler.decisions.steps import too_coarse
from qcompiler.decisions.wanted import families
from qcompiler.errors import ConfigurationError, did_you_mean
from qcompiler.ir.collector import rare_collections
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.origin import is_left_float, module_path, source_line
from qcompiler.ir.patterns import region_fits
from qcompiler.ir.plan import FLOAT, Choice, Plan
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.ir.relative import Relative, relative_values
from qcompiler.target.capability import Implementation, Kernel
from qcompiler.target.constraints import weights_are_numbers
from qcompiler.target.contract import Target

SIMULATED = "simulated: computed in float between quantizations"
"""Said of forms that the engine has no kernel for."""
SIZE_ONLY = "saves size, not time: computed in float"
"""Said of weights that are only stored in fewer bits."""


@dataclass(frozen=True, eq=False)
class Options:
    """The legal quantized forms of one region; float is always one more, unless `pinned`.

    Attributes:
        region: The region.
        implementations: Legal quantized forms that the search may choose, the target's preferred
            one first; with an override, the form that it asks for is among them.
        others: Legal forms that only a scheme or a plan that names them brings in.
        reasons: Why other forms are not there, in words.
        pinned: The precision an override asks for, None when the compiler may choose.
        unmet: Overrides, as `pattern=precision`, that match and ask for a form it does not have.
        lacking: Why a form of the target's table lacks data, by precision; among the reasons, too.
        coarse: Forms with too coarse steps for a value of which a share counts: only an override or
            a plan that names them brings them in, no scheme.
    """

    region: Region
    implementations: tuple[Implementation, ...]
    reasons: tuple[str, ...] = ()
    pinned: str | None = None
    others: tuple[Implementation, ...] = ()
    unmet: tuple[str, ...] = ()
    lacking: Mapping[str, str] = field(default_factory=dict)
    coarse: tuple[Implementation, ...] = ()

    @property
    def demanded(self) -> bool:
        """Whether an override wants another form than float."""
        return self.pinned not in (None, FLOAT)

    @property
    def legal(self) -> tuple[Implementation, ...]:
        """All quantized forms, those that the search tries first."""
        return (*self.implementations, *self.others)

    def named(self, precision: str) -> Implementation | None:
        """The implementation of that name; None for float or an unknown one."""
        both = chain(self.implementations, self.others, self.coarse)
        return next((each for each in both if each.precision == precision), None)

    def running(self, plan: Plan) -> Options | None:
        """The region with the form alone that it has in a plan; None for float."""
        precision = plan.precision(self.region.key)
        form = None if precision == FLOAT else self.named(precision)
        if form is None:
            return None
        return replace(self, implementations=(form,), others=(), coarse=())

    def chosen(self, precision: str, reason: str) -> Choice:
        """The choice of a precision, whose reason says where it is simulated, or saves no time."""
        form = self.named(precision)
        if form is not None and form.simulated:
            reason = f"{reason}, {SIMULATED}"
        elif form is not None and form.size_only:
            reason = f"{reason}, {SIZE_ONLY}"
        return self.placed(Choice(precision, reason))

    def placed(self, choice: Choice) -> Choice:
        """The choice with where its region is."""
        module = module_path(self.region.anchor)
        return replace(choice, module=module, ops=self.region.ops)


@rare_collections()
def region_options(
    program: Program,
    target: Target,
    regions: Sequence[Region],
    overrides: Mapping[str, str] | None = None,
) -> list[Options]:
    """Options of every region, in the given order.

    Args:
        program: A calibrated program (static forms need observations).
        target: Gives legal implementations.
        regions: The target's regions of the program.
        overrides: Precision by glob; matched against the module path, those of the modules around
            it, the node name and `op:OpType`; the last match that is legal wins.

    Raises:
        ConfigurationError: An override matches nothing, or nothing that has the form it asks for.
    """
    rules = dict(overrides or {})
    matched: set[str] = set()
    relative = relative_values(program)
    asking = _Asking(program, target, rules, relative, matched)
    found = [asking.options(each) for each in regions]
    if relative and not any(_is_static(form) for each in found for form in each.implementations):
        # Nothing else is left of the network, say of a spectrum alone: the user decides.
        asking = replace(asking, relative={})
        found = [asking.options(each) for each in regions]
    for pattern, precision in rules.items():
        if pattern not in matched:
            raise _matches_nothing(pattern, regions)
        _require_met(pattern, precision, found, target)
    return found


def _matches_nothing(pattern: str, regions: Sequence[Region]) -> ConfigurationError:
    names = [name for region in regions for name in _names(region)]
    return ConfigurationError(
        f"the override {pattern!r} matches no quantizable region",
        why="it is compared with module paths, node names and op:OpType",
        fix=did_you_mean(
            pattern, dict.fromkeys(names), "`qcompiler inspect MODEL` lists the regions"
        ),
    )


def _require_met(pattern: str, precision: str, options: Sequence[Options], target: Target) -> None:
    """An override that no matching region can take is a mistake; one that some can is not."""
    matching = [each for each in options if _matches(pattern, each.region)]
    rule = f"{pattern}={precision}"
    if any(rule not in each.unmet for each in matching):
        return
    first = matching[0]
    legal = dict.fromkeys(form.precision for each in matching for form in each.legal)
    raise ConfigurationError(
        f"{precision!r} is not legal for {first.region} on {target.name}",
        where=f"the override {pattern!r}, which matches {len(matching)} regions",
        why="; ".join(first.reasons) or None,
        fix=f"legal here: {', '.join([FLOAT, *families(legal)])}",
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


@dataclass(frozen=True, eq=False)
class _Asking:
    """What is asked about every region of a program.

    Attributes:
        program: A calibrated program.
        target: Gives legal implementations.
        rules: Precision by pattern.
        relative: Of `relative_values`.
        matched: Patterns that matched a region so far.
        offers: Of every tuple of forms that a target gave, by identity.
    """

    program: Program
    target: Target
    rules: Mapping[str, str]
    relative: Mapping[str, Relative]
    matched: set[str]
    offers: dict[int, Offer] = field(default_factory=dict)

    def options(self, region: Region) -> Options:
        """What a region may run as."""
        offer = self._offer(self.target.implementations(region))
        refused = () if offer.forms else self.target.objections(region)
        reasons = [found.message for found in refused]
        lacking, coarse = self._lacking(region, offer)
        legal = offer.forms
        if lacking:
            legal = tuple(form for form in legal if form.precision not in lacking)
        kept = any(map(is_left_float, region.nodes))
        pinned: str | None = FLOAT if kept else None
        reasons += ["the module keeps it in float"] if kept else []
        unmet: tuple[str, ...] = ()
        for pattern, precision in self.rules.items():
            if _matches(pattern, region):
                self.matched.add(pattern)
                form = _form_of(precision, (*legal, *coarse))
                pinned = form or pinned
                unmet += () if form else (f"{pattern}={precision}",)
        for missing in dict.fromkeys(lacking.values()):
            names = [precision for precision, why in lacking.items() if why == missing]
            reasons.append(f"{_told(names, offer)}: {missing}")
        if lacking or pinned is not None:
            asked = tuple(form for form in coarse if form.precision == pinned)
            coarse = tuple(form for form in coarse if form.precision != pinned)
            offer = Offer.of((*legal, *asked), pinned)
        found = (region, offer.searched, tuple(reasons), pinned, offer.others, unmet, lacking)
        return Options(*found, coarse)

    def _offer(self, forms: tuple[Implementation, ...]) -> Offer:
        known = self.offers.get(id(forms))  # which holds them, so that no others get their place
        if known is None:
            known = self.offers[id(forms)] = Offer.of(forms)
        return known

    def _lacking(
        self, region: Region, offer: Offer
    ) -> tuple[dict[str, str], tuple[Implementation, ...]]:
        """Why forms cannot be built or would be too coarse, by precision; those of the latter."""
        missing = {need: missing_data(self.program, region, need) for need in offer.needs}
        coarse = too_coarse(region, offer.forms, self.relative)
        if not coarse and not any(missing.values()):
            return {}, ()
        found = {
            form.precision: missing[need_of(form)] or coarse.get(form.precision)
            for form in offer.forms
        }
        lacking = {precision: why for precision, why in found.items() if why is not None}
        rough = (form for form in offer.forms if form.precision in coarse)
        return lacking, tuple(form for form in rough if missing[need_of(form)] is None)


def _told(names: Sequence[str], offer: Offer) -> str:
    """Forms in a reason: those that are searched by name, how many others there are."""
    searched = [form.precision for form in offer.searched if form.precision in names]
    shown = searched or list(names[:1])
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _is_static(form: Implementation) -> bool:
    return form.kernel is Kernel.STATIC


def _form_of(precision: str, legal: Sequence[Implementation]) -> str | None:
    """The legal form that an override means: by name, or the first of that many bits."""
    bits = precision.removesuffix("-bit")
    if bits != precision and bits.isdigit():
        spaces = [(each, each.weight or each.activation or each.output) for each in legal]
        found = [each for each, space in spaces if space and space.used_bits == int(bits)]
        return found[0].precision if found else None
    names = [FLOAT, *(each.precision for each in legal)]
    return precision if precision in names else None


def _names(region: Region) -> list[str]:
    """What an override may call a region."""
    return [name for name in (region.key, module_path(region.anchor), f"op:{region.kind}") if name]


def _matches(pattern: str, region: Region) -> bool:
    return region_fits(pattern, region.key, module_path(region.anchor), region.kind)
