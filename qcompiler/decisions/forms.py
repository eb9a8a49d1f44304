"""What every region may run as: legal implementations, narrowed by data and by the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from qcompiler.decisions.denials import matches, matches_nothing, require_met
from qcompiler.decisions.offers import Offer, missing_data, need_of
from qcompiler.decisions.options import Options
from qcompiler.decisions.steps import too_coarse
from qcompiler.ir.collector import rare_collections
from qcompiler.ir.origin import is_left_float
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.ir.relative import Relative, relative_values
from qcompiler.target.capability import Implementation, Kernel
from qcompiler.target.contract import Target


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
            raise matches_nothing(pattern, regions)
        require_met(pattern, precision, found, target)
    return found


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
            if matches(pattern, region):
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
