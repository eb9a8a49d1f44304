"""Passes and targets by name, from entry points: a plugin is a peer of the built-in ones.

Groups: `qcompiler.passes` and `qcompiler.backends`; an entry is `name = "module:Class"`, loaded on
first use. Classes made in a session are added with `register_pass` and `register_target`.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Generic, TypeVar

from qcompiler.errors import RegistryError, did_you_mean
from qcompiler.ir.program import Property
from qcompiler.pipeline.contract import Pass
from qcompiler.pipeline.entries import Entry, doc_in_source, entries_of, forget
from qcompiler.target.contract import Target

T = TypeVar("T")


class Registry(Generic[T]):
    """Classes of one kind by name. Reads entry points once; `refresh` reads them again.

    Args:
        kind: `pass` or `target`, for messages.
        group: The entry-point group.
        base: What every registered class must derive from.
    """

    def __init__(self, kind: str, group: str, base: type[T]) -> None:
        self.kind = kind
        self.group = group
        self._base = base
        self._entries: dict[str, Entry] | None = None
        self._loaded: dict[str, type[T]] = {}
        self._session: dict[str, type[T]] = {}

    def refresh(self) -> None:
        """Forgets what was read from entry points, say after an installation."""
        forget()
        self._entries = None
        self._loaded.clear()

    def entries(self) -> dict[str, Entry]:
        """All registrations from entry points by name.

        Raises:
            RegistryError: Two distributions registered one name.
        """
        if self._entries is None:
            self._entries = entries_of(self.group, self.kind)
        return self._entries

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted({*self.entries(), *self._session})

    def is_own(self, name: str) -> bool:
        """Whether it is one of ours: not of another distribution, nor of this session."""
        return name not in self._session and self.entries()[name].is_own

    def register(self, cls: type[T]) -> type[T]:
        """Adds a class under its `name`; usable as a decorator. Running a cell again replaces it.

        Raises:
            RegistryError: Not a class of this kind, or a distribution has the name.
        """
        name = self._checked(cls, None, "this session")
        if name in self.entries():
            taken = self.entries()[name]
            raise RegistryError(
                f"{self.kind} '{name}' is registered twice",
                why=f"by {taken.distribution} ({taken.reference}) and by this session",
                fix="give the class another name",
            )
        self._session[name] = cls
        return cls

    def forget(self, name: str) -> None:
        """Takes back a `register`; nothing happens if there was none."""
        self._session.pop(name, None)

    def find(self, name: str) -> type[T]:
        """The class of a name.

        Raises:
            RegistryError: Unknown (the nearest name is suggested), or it cannot be loaded.
        """
        if name in self._session:
            return self._session[name]
        if name not in self._loaded:
            self._loaded[name] = self._load(self._entry(name))
        return self._loaded[name]

    def summaries(self) -> dict[str, str]:
        """Name → first line of the class docstring, read from the source without importing it.

        One that cannot be loaded is listed with the reason: a broken plugin hides no other.
        """
        return {name: self._summary(name) for name in self.names()}

    def _summary(self, name: str) -> str:
        if name in self._session:
            return _first_line(self._session[name].__doc__)
        found = doc_in_source(self._entry(name).reference)
        if found is not None:
            return _first_line(found)
        try:
            return _first_line(self.find(name).__doc__)
        except RegistryError as error:
            return f"({error.what}: {error.why})"

    @property
    def _listing(self) -> str:
        """The command that lists them: `passes` or `targets`."""
        return f"{self.kind}es" if self.kind.endswith("s") else f"{self.kind}s"

    def _entry(self, name: str) -> Entry:
        if name in self.entries():
            return self.entries()[name]
        raise RegistryError(
            f"there is no {self.kind} '{name}'",
            why=f"known are: {_listed(self.names())}",
            fix=did_you_mean(name, self.names(), f"see `qcompiler {self._listing}`"),
        )

    def _load(self, entry: Entry) -> type[T]:
        module, _, attribute = entry.reference.partition(":")
        try:
            cls = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise RegistryError(
                f"{self.kind} '{entry.name}' cannot be loaded",
                where=f"{entry.reference} of {entry.distribution}",
                why=str(error),
                fix="install what it needs, or remove the plugin",
            ) from error
        self._checked(cls, entry.name, entry.distribution)
        return cls  # type: ignore[no-any-return]

    def _checked(self, cls: object, name: str | None, source: str) -> str:
        if not (isinstance(cls, type) and issubclass(cls, self._base)):
            wanted = f"{self._base.__module__}.{self._base.__name__}"
            raise RegistryError(f"{cls!r} of {source} is no {wanted}", fix=f"derive from {wanted}")
        own = getattr(cls, "name", None)
        if not isinstance(own, str) or (name is not None and own != name):
            raise RegistryError(
                f"{self.kind} class {cls.__name__} of {source} has the wrong name",
                why=f"it is registered as {name!r} and its `name` is {own!r}",
                fix="make the two the same",
            )
        return own


PASSES: Registry[Pass] = Registry("pass", "qcompiler.passes", Pass)  # type: ignore[type-abstract]
TARGETS: Registry[Target] = Registry("target", "qcompiler.backends", Target)  # type: ignore[type-abstract]


def passes() -> dict[str, str]:
    """Every registered pass: name → one line."""
    return PASSES.summaries()


def targets() -> dict[str, str]:
    """Every registered target: name → one line."""
    return TARGETS.summaries()


def engines() -> list[str]:
    """Names of the registered targets that are one engine each, sorted.

    Raises:
        RegistryError: One cannot be loaded.
    """
    return [name for name in TARGETS.names() if not TARGETS.find(name)().members]


def find_pass(name: str) -> type[Pass]:
    """The pass class of a name; see `Registry.find`."""
    return PASSES.find(name)


def find_target(name: str) -> type[Target]:
    """The target class of a name; see `Registry.find`."""
    return TARGETS.find(name)


def register_pass(cls: type[Pass]) -> type[Pass]:
    """Adds a pass class for this session; usable as a decorator."""
    return PASSES.register(cls)


def register_target(cls: type[Target]) -> type[Target]:
    """Adds a target class for this session; usable as a decorator."""
    return TARGETS.register(cls)


def establishers(wanted: Property) -> list[str]:
    """Names of the registered passes that establish a property; loads all that can be loaded."""
    return [name for name in PASSES.names() if wanted in _established(name)]


def _established(name: str) -> frozenset[Property]:
    """Nothing for a pass that cannot be loaded: this only feeds a hint."""
    try:
        return PASSES.find(name).establishes
    except RegistryError:
        return frozenset()


_SHOWN = 12
"""Names that an error lists."""


def _listed(names: list[str]) -> str:
    """The names, the first of many."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "none") + more


def _first_line(doc: str | None) -> str:
    return inspect.cleandoc(doc or "").partition("\n")[0]
