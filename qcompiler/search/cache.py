"""`CostCache`: measured times of regions on disk, by what they compute, engine and processor.

One JSON file per environment in `QCOMPILER_CACHE` (set but empty: no cache), by default in the
user's cache folder. A file that cannot be read or written costs a note, never a compilation.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import onnx_ir as ir

from qcompiler.decisions.options import Options
from qcompiler.errors import ArtifactError, ConfigurationError
from qcompiler.files.reading import Door, Kind, cause
from qcompiler.files.writing import write_text
from qcompiler.ir.regions import Region
from qcompiler.version import own_version

VARIABLE = "QCOMPILER_CACHE"


@dataclass(eq=False)
class CostCache:
    """Seconds by (region signature, precision) for one environment.

    Attributes:
        path: The file; None keeps nothing.
        notes: What went wrong with it, in words.
    """

    path: Path | None
    notes: list[str] = field(default_factory=list)
    _known: dict[str, float] | None = None

    @classmethod
    def open(cls, environment: str) -> CostCache:
        """The cache of this target (name, options, engine's version), this package, processor."""
        folder = cache_folder()
        if folder is None:
            return cls(None)
        machine = (processor(), str(os.cpu_count()), platform.system())
        key = "|".join((environment, f"qcompiler {own_version()}", *machine))
        return cls(folder / f"costs-{_digest(key)}.json")

    def get(self, signature: str, precision: str) -> float | None:
        """Seconds, None if they are not known."""
        return self._entries().get(f"{signature} {precision}")

    def update(self, measured: Mapping[tuple[str, str], float]) -> None:
        """Adds times by (signature, precision), the lower one where two are known, and writes."""
        if self.path is None or not measured:
            return
        self._known = None  # another process may have written meanwhile
        entries = dict(self._entries())
        for (signature, precision), seconds in measured.items():
            name = f"{signature} {precision}"
            entries[name] = min(seconds, entries.get(name, seconds))
        self._known = entries
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, json.dumps(entries, sort_keys=True))
        except (OSError, ValueError, ArtifactError) as error:
            self.notes.append(f"cost cache {self.path} not written: {cause(error)}")

    def _entries(self) -> dict[str, float]:
        if self._known is None:
            self._known = self._read()
        return self._known

    def _read(self) -> dict[str, float]:
        if self.path is None:
            return {}
        try:
            if _CACHE.kind(self.path) is Kind.MISSING:
                return {}
            text = _CACHE.text(self.path)
            with _CACHE.reading(self.path):
                return _parsed(text)
        except ConfigurationError as error:
            self.notes.append(f"cost cache {self.path} ignored: {error.why}")
            return {}


_CACHE = Door("the cost cache", ConfigurationError)


def _parsed(text: str) -> dict[str, float]:
    found = {str(name): float(seconds) for name, seconds in json.loads(text).items()}
    if any(not 0 <= seconds < 1e6 for seconds in found.values()):
        raise ValueError("a time is negative or beyond reason")
    return found


def cache_folder() -> Path | None:
    """Where caches are kept; None when they are switched off."""
    given = os.environ.get(VARIABLE)
    if given is not None:
        return Path(given) if given else None
    try:
        home = Path.home()
    except RuntimeError:
        return None  # nobody's machine
    if not home.is_absolute():
        return None  # it would be a folder in whatever the working directory is
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "qcompiler"
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", home)) / "qcompiler"
    given = os.environ.get("XDG_CACHE_HOME", "")
    # A relative path is invalid and to be ignored, says the XDG base directory specification:
    # https://specifications.freedesktop.org/basedir-spec/latest
    return (Path(given) if Path(given).is_absolute() else home / ".cache") / "qcompiler"


def processor() -> str:
    """The processor's model name."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def signatures(options: Sequence[Options], elements: Mapping[str, float]) -> dict[str, str]:
    """What each region computes, by its key: ops, attributes, types, sizes; no names."""
    return {each.region.key: signature(each.region, elements) for each in options}


def signature(region: Region, elements: Mapping[str, float]) -> str:
    """16 hex digits, equal for regions that do the same work.

    Args:
        region: The region.
        elements: Elements of values per run by name, which stand for symbolic dimensions.
    """
    parts: list[str] = []
    for node in region.nodes:
        attributes = sorted(
            f"{name}={attribute.value}"
            for name, attribute in node.attributes.items()
            if attribute.type != ir.AttributeType.GRAPH
        )
        operands = [_described(value, elements) for value in (*node.inputs, *node.outputs)]
        parts.append(f"{node.domain}:{node.op_type}({attributes}){operands}")
    return _digest("\n".join(parts))


def _described(value: ir.Value | None, elements: Mapping[str, float]) -> str:
    if value is None:
        return "-"
    dims = "?"
    if value.shape is not None:
        dims = ",".join(str(dim) if isinstance(dim, int) else "?" for dim in value.shape)
    return f"{value.dtype}[{dims}]{round(elements.get(value.name or '', 0.0))}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
