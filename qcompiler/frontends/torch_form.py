"""What an own decomposition of an operator is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Decomposition = Callable[..., Any]


@dataclass(frozen=True)
class OwnForm:
    """One operator's own decomposition.

    Attributes:
        form: Takes what the operator takes. `NotImplemented` leaves a call as it is.
        needed: Whether a call (args, kwargs of its FX node) has to be decomposed.
        becomes: The operator that torch makes of it first, which the form is given for.
    """

    form: Decomposition
    needed: Callable[[Mapping[str, Any]], bool] = lambda given: True
    becomes: Any = None


def either(first: OwnForm, second: OwnForm) -> OwnForm:
    """The first form that takes a call."""

    def form(*args: Any, **kwargs: Any) -> Any:
        found = first.form(*args, **kwargs)
        return second.form(*args, **kwargs) if found is NotImplemented else found

    def needed(given: Mapping[str, Any]) -> bool:
        return first.needed(given) or second.needed(given)

    return OwnForm(form, needed, first.becomes or second.becomes)


def merged(*tables: Mapping[Any, OwnForm]) -> dict[Any, OwnForm]:
    """One table; operators that several have get all of their forms, the earlier ones first."""
    found: dict[Any, OwnForm] = {}
    for table in tables:
        for op, own in table.items():
            found[op] = either(found[op], own) if op in found else own
    return found
