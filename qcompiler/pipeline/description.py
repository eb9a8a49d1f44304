"""What a pass says of itself: its text, options, what it needs and what it leaves."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass
from typing import Any

from qcompiler.config import RECIPES
from qcompiler.ir.program import Property
from qcompiler.pipeline.options import option_fields, show_value
from qcompiler.pipeline.registry import PASSES

_SESSION = "this session"


@dataclass(frozen=True)
class PassDescription:
    """A registered pass.

    Attributes:
        name: In pipeline texts.
        text: The docstring of its class.
        options: Default by option as pipeline texts write it, empty for one that has to be given.
        requires: Names of properties that must hold before.
        establishes: Those that hold after.
        destroys: Those that may no longer hold after.
        stage: When an accuracy pass works; None for every other pass.
        gains: What an accuracy pass is judged by: `loss` or `latency`; None for every other pass.
        recipes: Recipes that try it without being asked.
        registered_by: The distribution.
    """

    name: str
    text: str
    options: Mapping[str, str]
    requires: tuple[str, ...]
    establishes: tuple[str, ...]
    destroys: tuple[str, ...]
    stage: str | None
    gains: str | None
    recipes: tuple[str, ...]
    registered_by: str

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def lines(self) -> list[tuple[str, str]]:
        """What is not empty, by heading."""
        told = {
            "options": ", ".join(f"{key}={value}" for key, value in self.options.items()),
            "requires": ", ".join(self.requires),
            "establishes": ", ".join(self.establishes),
            "destroys": ", ".join(self.destroys),
            "stage": self.stage or "",
            "kept where it gains": self.gains or "",
            "tried by recipes": ", ".join(self.recipes),
            "registered by": self.registered_by,
        }
        return [(heading, line) for heading, line in told.items() if line]

    def shown(self) -> str:
        """The name, the docstring, and a line for everything else that there is."""
        rest = "\n".join(f"{heading}: {line}" for heading, line in self.lines())
        return f"{self.name}\n\n{self.text}\n\n{rest}"


def described(name: str) -> PassDescription:
    """What the pass of a name is.

    Raises:
        RegistryError: There is none, or it cannot be loaded.
    """
    cls = PASSES.find(name)
    entry = PASSES.entries().get(name)
    return PassDescription(
        name,
        inspect.cleandoc(cls.__doc__ or ""),
        {key.replace("_", "-"): _default(each) for key, each in option_fields(cls).items()},
        _names(cls.requires),
        _names(cls.establishes),
        _names(cls.destroys),
        cls.stage.value if cls.stage is not None else None,
        cls.gains if cls.stage is not None else None,
        tuple(sorted(cls.recipes.union(_listing(name)))),
        entry.distribution if entry is not None else _SESSION,
    )


def _listing(name: str) -> list[str]:
    """Recipes that list a pass."""
    texts = {recipe: each.variants for recipe, each in RECIPES.items()}
    return [each for each in texts if name in (text.partition("{")[0] for text in texts[each])]


def _names(properties: frozenset[Property]) -> tuple[str, ...]:
    return tuple(sorted(each.name for each in properties))


def _default(option: Field[Any]) -> str:
    if option.default_factory is not MISSING:
        return show_value(option.default_factory())
    return "" if option.default is MISSING else show_value(option.default)
