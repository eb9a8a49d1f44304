"""What `qcompiler inspect` finds out of a program."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from qcompiler.choices.objective import operations
from qcompiler.decisions.schemes import Scheme
from qcompiler.execution.made_up import sizes_in_a_run
from qcompiler.ir.origin import module_path
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.ir.signature import Feed
from qcompiler.ir.walk import all_nodes
from qcompiler.target.contract import Target

_INT8 = Scheme("int8")


def facts(
    program: Program,
    target: Target,
    others: Sequence[Target] = (),
    making: Mapping[str, str] | None = None,
    feed: Feed | None = None,
) -> dict[str, Any]:
    """What a program is made of, ready for JSON.

    Interface, op counts, bytes of weights, multiply-accumulates of a run, regions, warnings, and
    how many of each target's regions `int8` would quantize.

    Args:
        program: What the front end made of a model.
        target: Whose regions are shown with the forms they may take.
        others: Targets that are counted.
        making: What an artifact says of its making.
        feed: It is run once, and multiply-accumulates are those of that run; without, they are
            counted from the shapes of inputs, open sizes as 1.

    Raises:
        FeedError: The feed does not fit the inputs.
        LoweringError: The model does not run on it.
    """
    ops = Counter(node.op_type for node in all_nodes(program.model))
    found = target.regions(program)
    sizes = [] if feed else _open_sizes(program)
    ends = [region.output.name or "" for region in found]
    seen = sizes_in_a_run(program, feed, ends) if feed else None
    regions = [_region_facts(target, region, sizes, seen) for region in found]
    return {
        "source": program.provenance.source,
        "made": dict(making or {}),
        "inputs": [str(spec) for spec in program.signature.inputs],
        "run_on": {name: list(np.shape(value)) for name, value in (feed or {}).items()},
        "outputs": [str(spec) for spec in program.signature.outputs],
        "ops": dict(ops.most_common()),
        "weight_bytes": _weight_bytes(program),
        "macs": sum(each["macs"] for each in regions),
        "macs_open_sizes": sizes,
        "macs_of_unknown_size": sum(not each["macs_known"] for each in regions),
        "target": target.name,
        "regions": regions,
        "targets": {each.name: _counted(program, each) for each in others},
        "warnings": list(program.provenance.warnings),
    }


def _weight_bytes(program: Program) -> int:
    stored = program.graph.initializers.values()
    return sum(each.const_value.nbytes for each in stored if each.const_value is not None)


def _open_sizes(program: Program) -> list[str]:
    """Symbols of inputs, each of which counts as 1 in multiply-accumulates."""
    shapes = [spec.shape or () for spec in program.signature.inputs]
    return sorted({dim or "?" for shape in shapes for dim in shape if not isinstance(dim, int)})


def _region_facts(
    target: Target, region: Region, sizes: Sequence[str], seen: Mapping[str, int] | None
) -> dict[str, Any]:
    name = region.output.name or ""
    known = _is_known(region.output, sizes) if seen is None else name in seen
    elements = {name: _elements(region.output) if seen is None else float(seen.get(name, 0))}
    weighted = region.weight is not None
    forms = target.implementations(region)
    return {
        "name": region.key,
        "ops": "+".join(node.op_type for node in region.nodes),
        "module": module_path(region.anchor),
        "macs": round(operations(region, elements)) if weighted else 0,
        "macs_known": not weighted or known,
        "precisions": [each.precision for each in forms],
        "searched": [each.precision for each in forms if each.searched],
        "objections": [each.message for each in target.objections(region)],
    }


def _elements(value: ir.Value) -> float:
    """Elements with open sizes counted as 1; 0 where the rank is unknown."""
    if value.shape is None:
        return 0.0
    return float(math.prod(dim if isinstance(dim, int) else 1 for dim in value.shape.dims))


def _is_known(value: ir.Value, sizes: Sequence[str]) -> bool:
    """Whether the shape follows from the inputs' sizes; others are known in a run only."""
    if value.shape is None:
        return False
    return all(isinstance(dim, int) or dim.value in sizes for dim in value.shape.dims)


def _counted(program: Program, target: Target) -> dict[str, Any]:
    """How many regions `int8` would quantize, and how often which constraint is against it."""
    regions = target.regions(program)
    against = Counter[str]()
    quantized = 0
    for region in regions:
        if _INT8.choose(target.implementations(region)) is not None:
            quantized += 1
        else:
            against.update({each.message: 1 for each in target.objections(region)})
    return {"regions": len(regions), "int8": quantized, "against": dict(against.most_common())}
