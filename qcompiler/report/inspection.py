"""What `qcompiler inspect` shows of a program."""

from __future__ import annotations

from collections import Counter
from typing import Any

from qcompiler.ir.origin import module_path
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.ir.walk import all_nodes
from qcompiler.printable import one_line
from qcompiler.target.contract import Target


def facts(program: Program, target: Target) -> dict[str, Any]:
    """What a program is made of, ready for JSON: interface, op counts, regions, warnings."""
    ops = Counter(node.op_type for node in all_nodes(program.model))
    return {
        "source": program.provenance.source,
        "inputs": [str(spec) for spec in program.signature.inputs],
        "outputs": [str(spec) for spec in program.signature.outputs],
        "ops": dict(ops.most_common()),
        "regions": [_region_facts(target, region) for region in target.regions(program)],
        "warnings": list(program.provenance.warnings),
    }


def _region_facts(target: Target, region: Region) -> dict[str, Any]:
    return {
        "name": region.key,
        "ops": "+".join(node.op_type for node in region.nodes),
        "module": module_path(region.anchor),
        "precisions": [each.precision for each in target.implementations(region)],
        "objections": [each.message for each in target.objections(region)],
    }


def show_facts(found: dict[str, Any]) -> str:
    """The facts as lines; each region with the forms it may take, or why it has to stay float."""
    lines = [found["source"]]
    lines += [f"  in  {spec}" for spec in found["inputs"]]
    lines += [f"  out {spec}" for spec in found["outputs"]]
    lines.append("ops: " + ", ".join(f"{count} {op}" for op, count in found["ops"].items()))
    lines.append(f"regions: {len(found['regions'])}")
    for each in found["regions"]:
        forms = ", ".join(each["precisions"]) or "; ".join(each["objections"]) or "float only"
        lines.append(f"  {each['module'] or each['name']}  {each['ops']}  {forms}")
    lines += [f"warning: {line}" for line in found["warnings"]]
    return "\n".join(map(one_line, lines)) + "\n"
