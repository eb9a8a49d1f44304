"""`Options`: the legal forms of one region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain

from qcompiler.ir.origin import module_path
from qcompiler.ir.plan import FLOAT, Choice, Plan
from qcompiler.ir.regions import Region
from qcompiler.target.capability import Implementation

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
