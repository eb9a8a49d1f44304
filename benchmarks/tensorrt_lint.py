"""Compares the TensorRT lint with NVIDIA's own parser and builder on generated graphs.

    python -m benchmarks.tensorrt_lint

Needs the wheels of `qcompiler[tensorrt-check]`. Prints every disagreement. A graph agrees if both
accept or both reject it, and if every Conv/MatMul/Gemm that the lint takes for quantized was
compiled with quantized operands, and no other.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from benchmarks import tensorrt_cases_placement as placed
from benchmarks import tensorrt_cases_scales as scaled
from benchmarks import tensorrt_cases_types as typed
from benchmarks.tensorrt_net import Case
from qcompiler.backends.tensorrt.gate import Gate, GateResult, available
from qcompiler.backends.tensorrt.lint import float_nodes, lint
from qcompiler.backends.tensorrt.lint.run import as_model
from qcompiler.backends.tensorrt.lint.view import View
from qcompiler.ir.diagnostics import Severity


def all_cases(chains: int = 100) -> Iterator[Case]:
    """Every generated graph, with this many random chains of layers."""
    yield from typed.types()
    yield from scaled.scales()
    yield from scaled.blocks()
    yield from placed.placement()
    yield from placed.opsets()
    yield from placed.hardware()
    yield from placed.random_chains(chains)


def disagreement(case: Case, built: GateResult) -> str | None:
    """In which way lint and builder differ on a case; None if they agree."""
    found = lint(case.model, case.compute_capability)
    errors = [each for each in found if each.severity is Severity.ERROR]
    if bool(errors) == built.built:
        lint_says = f"rejected by {errors[0].rule}" if errors else "accepted"
        return f"lint: {lint_says}; builder: {built.errors[:1] or 'built'}"
    return None if errors else _type_disagreement(case, built)


def _type_disagreement(case: Case, built: GateResult) -> str | None:
    view = View(as_model(case.model), case.compute_capability)
    floats = float_nodes(case.model, case.compute_capability)
    meant = {node.name for node in view.quantized} - floats
    for node in view.weighted:
        compiled = built.layers.get(node.name or "", "?")
        if (node.name in meant) != quantized(compiled):
            expected = "quantized" if node.name in meant else "float"
            return f"{node.name}: lint says {expected}, compiled {compiled}"
    return None


def quantized(compiled: str) -> bool:
    """Whether compiled types are those of a quantized layer: one type, or a 4-bit weight."""
    return compiled in ("Int8", "FP8", "Int4") or compiled.endswith(" x Int4")


def main() -> int:
    """Prints the table; 1 if fewer than 98 % of the graphs agree."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    if not available():
        print("the TensorRT-RTX wheels are not installed: pip install qcompiler[tensorrt-check]")
        return 0
    total, rejected, differing = 0, 0, []
    with Gate(timeout=120) as gate:
        for case in all_cases():
            built = gate.check(case.model, compute_capability=case.compute_capability)
            total, rejected = total + 1, rejected + (not built.built)
            reason = disagreement(case, built)
            if reason is not None:
                differing.append(f"  {case.name} (SM {case.compute_capability}): {reason}")
    share = 100 * (total - len(differing)) / total
    print(f"{total} graphs, {rejected} rejected by the builder; lint agrees on {share:.1f} %")
    print("\n".join(["disagreements:", *differing]) if differing else "no disagreement")
    return int(share < 98)


if __name__ == "__main__":
    sys.exit(main())
