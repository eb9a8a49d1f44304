"""What an artifact holds, and was made of and with: graph, plan, calibration data, versions.

Nothing in it depends on time, machine or path, so that equal inputs give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import onnx_ir as ir

from qcompiler.errors import ArtifactError
from qcompiler.ir.content import content_digest
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
        content: Digest of the graph and its weights, see `ir.content`; empty in files of earlier
            versions.
        versions: By name: this package, the target's engine, what exported the model (`source`),
            and the packages that write graphs.
    """

    plan: str = ""
    data: str = ""
    content: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, program: Program, target: Target, written: ir.Model | None = None) -> Making:
        """Of what is about to be saved; an artifact that was loaded keeps its own.

        Args:
            program: What was compiled.
            target: What for.
            written: The graph that is saved; None for what is only told of a loaded artifact.
        """
        origin = program.provenance
        plan = origin.plan or ("" if program.plan is None else program.plan.digest)
        content = origin.content if written is None else content_digest(written)
        return cls(plan, origin.data, content, origin.versions or _versions(program, target))

    def to_json(self) -> str:
        """One line, in a fixed order."""
        body = {
            "plan": self.plan,
            "data": self.data,
            "content": self.content,
            "versions": dict(self.versions),
        }
        return json.dumps(body, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | None) -> Making:
        """Reads what `to_json` wrote; empty where there is none, as in files of earlier versions.

        Raises:
            ValueError: It is something else.
        """
        if text is None:
            return cls()
        body = json.loads(text)
        match {"content": "", **body} if isinstance(body, dict) else body:
            case {
                "plan": str(plan),
                "data": str(data),
                "content": str(content),
                "versions": dict(versions),
            } if all(isinstance(each, str) for each in versions.values()):
                return cls(plan, data, content, versions)
        raise ValueError("what it was made of is not told in texts")

    def check(self, model: ir.Model, path: Path) -> None:
        """Makes sure that the graph that was read from a file is the one that was saved.

        Raises:
            ArtifactError: A node or a weight is another one.
        """
        if self.content and self.content != content_digest(model):
            raise ArtifactError(
                f"cannot read the artifact {path}",
                why="its graph or its weights are not those that were saved: "
                "their digest is another one",
                fix="save it again with Compiled.save; a graph that was changed on purpose is a "
                "model of its own: compile it",
            )

    def on(self, provenance: Provenance) -> Provenance:
        """What is known of an artifact's origin once it is loaded."""
        return replace(
            provenance, data=self.data, plan=self.plan, content=self.content, versions=self.versions
        )

    @property
    def facts(self) -> dict[str, str]:
        """For people: names and values, empty ones left out."""
        rows = {
            "plan digest": self.plan,
            "calibration data digest": self.data,
            "graph and weights digest": self.content,
        }
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
