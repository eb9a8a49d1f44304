"""What an artifact was made of and with: its plan, its calibration data, versions.

Nothing in it depends on time, machine or path, so that equal inputs give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version

from qcompiler.ir.program import Program, Provenance
from qcompiler.target.contract import Target
from qcompiler.version import own_version

_LIBRARIES = ("onnx", "onnx-ir")
"""Packages that write graphs, whatever the target."""


@dataclass(frozen=True)
class Making:
    """Kept in every artifact.

    Attributes:
        plan: `Plan.digest`; empty where there was no plan.
        data: `Program.provenance.data`; empty where there was no calibration.
        versions: By name: this package, the target's engine, what exported the model (`source`),
            and the packages that write graphs.
    """

    plan: str = ""
    data: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, program: Program, target: Target) -> Making:
        """Of what is about to be saved; an artifact that was loaded keeps its own."""
        origin = program.provenance
        plan = origin.plan or ("" if program.plan is None else program.plan.digest)
        return cls(plan, origin.data, origin.versions or _versions(program, target))

    def to_json(self) -> str:
        """One line, in a fixed order."""
        body = {"plan": self.plan, "data": self.data, "versions": dict(self.versions)}
        return json.dumps(body, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | None) -> Making:
        """Reads what `to_json` wrote; empty where there is none, as in files of earlier versions.

        Raises:
            ValueError: It is something else.
        """
        if text is None:
            return cls()
        match json.loads(text):
            case {"plan": str(plan), "data": str(data), "versions": dict(versions)} if all(
                isinstance(each, str) for each in versions.values()
            ):
                return cls(plan, data, versions)
        raise ValueError("what it was made of is not told in texts")

    def on(self, provenance: Provenance) -> Provenance:
        """What is known of an artifact's origin once it is loaded."""
        return replace(provenance, data=self.data, plan=self.plan, versions=self.versions)

    @property
    def facts(self) -> dict[str, str]:
        """For people: names and values, empty ones left out."""
        rows = {"plan digest": self.plan, "calibration data digest": self.data}
        made = ", ".join(f"{name} {value}" for name, value in self.versions.items())
        rows["made with"] = made
        return {name: value for name, value in rows.items() if value}


def _versions(program: Program, target: Target) -> dict[str, str]:
    """Sorted by name, as the file has them when it is read again."""
    found = {"qcompiler": own_version(), "engine": target.engine_version}
    found["source"] = program.provenance.producer
    for package in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return {name: found[name] for name in sorted(found) if found[name]}
