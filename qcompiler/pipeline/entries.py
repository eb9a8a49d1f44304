"""What installed distributions, or a checkout of ours, register: entry points by name."""

from __future__ import annotations

import ast
import importlib.util
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from qcompiler.errors import RegistryError

OWN = "qcompiler"
"""Name of our own distribution."""


@dataclass(frozen=True)
class Entry:
    """One registration.

    Attributes:
        name: Name in texts and on the command line.
        reference: `module:Class`.
        distribution: Who registered it, such as `qcompiler 0.1.0`.
    """

    name: str
    reference: str
    distribution: str

    @property
    def is_own(self) -> bool:
        """Whether it is our own distribution's."""
        return self.distribution.partition(" ")[0] == OWN


def entries_of(group: str, kind: str) -> dict[str, Entry]:
    """All registrations of a group by name.

    Args:
        group: The entry-point group.
        kind: What is registered, for messages.

    Raises:
        RegistryError: Two distributions registered one name.
    """
    entries: dict[str, Entry] = {}
    for entry in _entry_points(group):
        other = entries.setdefault(entry.name, entry)
        if other is not entry:
            raise RegistryError(
                f"{kind} '{entry.name}' is registered twice",
                why=f"by {other.distribution} ({other.reference})"
                f" and by {entry.distribution} ({entry.reference})",
                fix="uninstall one of the two",
            )
    return entries


def _entry_points(group: str) -> Iterator[Entry]:
    own = _checkout_entries(group)
    yield from own
    told = cache(_named)  # every question about a distribution parses its metadata again
    for point in _published(tuple(sys.path)).select(group=group):
        name, version = told(point.dist)
        if own and name == OWN:
            continue
        yield Entry(point.name, point.value, f"{name} {version}".strip())


@lru_cache(maxsize=1)
def _published(path: tuple[str, ...]) -> Any:  # of another class before Python 3.12
    """Entry points of everything installed on a path, which takes 3 ms to find."""
    return metadata.entry_points()


def forget() -> None:
    """Lets the next question look at what is installed."""
    _published.cache_clear()
    _tables.cache_clear()


def _named(distribution: metadata.Distribution | None) -> tuple[str, str]:
    """Name and version."""
    if distribution is None:
        return "an unknown distribution", ""
    told = distribution.metadata
    return told["Name"], told["Version"]


def _checkout_entries(group: str) -> list[Entry]:
    """Our entries from the pyproject.toml of a checkout.

    There it is the truth: a checkout may not be installed, and the metadata of an editable
    installation is as old as the installation.
    """
    file = Path(__file__).parents[2] / "pyproject.toml"
    if not file.is_file():
        return []
    listed = _tables(file).get(group, {})
    return [Entry(name, reference, f"{OWN} (checkout)") for name, reference in listed.items()]


@lru_cache(maxsize=1)
def _tables(file: Path) -> Mapping[str, Mapping[str, str]]:
    """Entry points by group of our own pyproject.toml; none of another project's."""
    project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    found: Mapping[str, Mapping[str, str]] = project.get("entry-points", {})
    return found if project.get("name") == OWN else {}


def doc_in_source(reference: str) -> str | None:
    """The class docstring from the module's source; None if the class is not defined there."""
    module, _, attribute = reference.partition(":")
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == attribute:
            return ast.get_docstring(node)
    return None
