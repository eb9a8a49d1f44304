"""What `Compiled.save` wrote, opened again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qcompiler.compiled import Compiled
from qcompiler.errors import ArtifactError
from qcompiler.execution.stamp import is_onnx, target_in
from qcompiler.execution.verifying import is_unplanned
from qcompiler.files.reading import Door, Kind, as_path, kind_of
from qcompiler.ir.plan import Plan
from qcompiler.outcome.environment import environment_of
from qcompiler.outcome.network import network_of
from qcompiler.outcome.rows import region_rows
from qcompiler.pipeline import registry
from qcompiler.report.report import Report
from qcompiler.target.placement import lowered_regions

_NO_PLAN = (
    "the file is quantized and holds no plan: regions are listed as float32, "
    "and verify() cannot compare them"
)
_ARTIFACT = Door("the artifact", ArtifactError, fix="save it again with Compiled.save")


def load_compiled(path: Path | str, target: str | None = None) -> Compiled:
    """Opens a saved artifact, ready to run; results equal those of the process that saved it.

    Artifacts keep the plan and the calling convention of a torch source; other ONNX files are
    called with arrays or a dict by input name.

    Args:
        path: What `Compiled.save` wrote.
        target: Name of the target it was saved for; by default the file tells.

    Raises:
        ArtifactError: Not readable, damaged, or of a target that only writes files.
        ConfigurationError: No target of that name.
    """
    file = as_path(path, "the artifact")
    _ARTIFACT.require_file(file)
    with _ARTIFACT.reading(file), file.open("rb") as opened:
        head = opened.read(16)
    if target is None:
        with _ARTIFACT.reading(file):
            target = target_in(file, head)
    names = registry.targets() if target is None else [target]
    kinds = [registry.find_target(name) for name in names]
    reader = next((kind for kind in kinds if target or kind.recognizes(head)), None)
    if reader is None:
        raise ArtifactError(
            f"{file} is no artifact of a known target",
            fix=f"give the target it was saved for; there are {', '.join(names)}",
        )
    with _ARTIFACT.reading(file):
        restored = reader.restore(file)
    plan = restored.program.plan or Plan(restored.target.name, {})
    regions = lowered_regions(restored.program, restored.target)
    report = Report(
        restored.program.provenance.source,
        restored.target.name,
        f"loaded from {file.name}",
        region_rows(regions, plan),
        network=network_of(restored.program, regions, restored.target),
        environment=environment_of(restored.target),
    )
    unplanned = (_NO_PLAN,) if is_unplanned(restored.program) else ()
    report = replace(report, warnings=(*unplanned, *restored.program.provenance.warnings))
    return Compiled(restored.program, restored.target, plan, report, restored.artifact)


def is_artifact(path: Path) -> bool:
    """Whether a file is in a format of a target's own; of others, `load` says what is wrong."""
    try:
        if kind_of(path) is not Kind.FILE:
            return False
        with path.open("rb") as opened:
            head = opened.read(16)
    except (OSError, ValueError):
        return False
    kinds = map(registry.find_target, registry.targets())
    return not is_onnx(head) and any(kind.recognizes(head) for kind in kinds)
