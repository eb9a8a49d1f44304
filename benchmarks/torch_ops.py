"""Every operator and module of torch, translated and compared with itself.

    python -m benchmarks.torch_ops [--only WORD] [--samples 4] [--part 0/4] [--out FILE]

The samples are those of torch's own tests (`torch.testing._internal`, which needs `expecttest`):
ops and modules x attributes x ranks. Each one becomes a module, `qcompiler.load` its Program, and
ONNX Runtime runs it at the example's sizes and with the open axes doubled. The oracle is the eager
module.

`wrong`: another result, and nobody said so. `foreign`: an exception that is none of ours.
`placeless`: a refusal that names no line and no module. `engine`: ONNX Runtime does not run the
translation.
"""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

import qcompiler as qc
from qcompiler.errors import LoweringError, QCompilerError
from qcompiler.execution.session import OrtSession

_LARGEST = 200_000
"""Elements of one argument; larger samples only cost time."""
_RANDOM = (
    "rand",
    "normal",
    "bernoulli",
    "dropout",
    "multinomial",
    "empty",
    "uniform",
    "exponential",
)
"""Words in the names of ops without one right result."""
_TOLERANCE = {"rtol": 2e-3, "atol": 2e-4}
"""Of float32 results of a few hundred terms in another order."""


class Sample(torch.nn.Module):
    """One call of an op; its tensors are the arguments, everything else is fixed."""

    def __init__(self, op: Callable[..., Any], args: Any, kwargs: Any) -> None:
        super().__init__()
        self.op = op
        leaves, self.spec = pytree.tree_flatten((args, kwargs))
        self.fixed = [None if isinstance(leaf, torch.Tensor) else [leaf] for leaf in leaves]
        self.tensors = tuple(leaf.detach() for leaf in leaves if isinstance(leaf, torch.Tensor))

    def forward(self, *tensors: torch.Tensor) -> Any:
        remaining = iter(tensors)
        leaves = [next(remaining) if each is None else each[0] for each in self.fixed]
        args, kwargs = pytree.tree_unflatten(leaves, self.spec)
        return self.op(*args, **kwargs)


def op_samples(only: str, most: int) -> Iterator[tuple[str, Callable[[], Iterator[Sample]]]]:
    """(name, samples) of every op with float32 samples."""
    from torch.testing._internal.common_methods_invocations import op_db

    for op in op_db:
        name = op.name + (f".{op.variant_test_name}" if op.variant_test_name else "")
        if only in name and torch.float32 in op.dtypes:
            yield name, partial(_of_op, op, most)


def _of_op(op: Any, most: int) -> Iterator[Sample]:
    seen: Counter[str] = Counter()
    for each in op.sample_inputs("cpu", torch.float32, requires_grad=False):
        sample = Sample(op.op, (each.input, *each.args), each.kwargs)
        kind = str(sorted(each.kwargs)) + str([t.ndim for t in sample.tensors])
        seen[kind] += 1
        if seen[kind] <= 2 and seen.total() <= 40 and len(seen) <= most and _is_small(sample):
            yield sample


def module_samples(only: str, most: int) -> Iterator[tuple[str, Callable[[], Iterator[Sample]]]]:
    """(name, samples) of every `nn.Module` that torch tests."""
    from torch.testing._internal.common_modules import module_db

    for info in module_db:
        if only in info.name and "Loss" not in info.name:
            yield info.name, partial(_of_module, info, most)


def _of_module(info: Any, most: int) -> Iterator[Sample]:
    inputs = info.module_inputs_func(
        info, device="cpu", dtype=torch.float32, requires_grad=False, training=False
    )
    for number, each in enumerate(inputs):
        if number >= 3 * most or each.forward_input is None:
            continue
        made = each.constructor_input
        module = info.module_cls(*made.args, **made.kwargs).eval()
        sample = Sample(module, each.forward_input.args, each.forward_input.kwargs)
        if _is_small(sample):
            yield sample


def _is_small(sample: Sample) -> bool:
    return bool(sample.tensors) and all(0 < t.numel() <= _LARGEST for t in sample.tensors)


def outcome(sample: Sample) -> tuple[str, str]:
    """What became of one sample, and the details."""
    with torch.no_grad():
        wanted = sample(*(t.clone() for t in sample.tensors))
    if not _all_tensors(wanted):
        return "skipped", "no tensors come out"
    try:
        program = qc.load(sample.eval(), tuple(t.clone() for t in sample.tensors))
    except QCompilerError as error:
        return ("refused" if error.where else "placeless"), str(error)
    except Exception as error:  # noqa: BLE001 - this is what is counted
        return "foreign", f"{type(error).__name__}: {error}"
    try:
        return _compared(sample, program, wanted)
    except LoweringError as error:
        return "engine", str(error)
    except QCompilerError as error:
        return "refused", str(error)
    except Exception as error:  # noqa: BLE001 - this is what is counted
        return "foreign", f"running: {type(error).__name__}: {error}"


def _compared(sample: Sample, program: Any, wanted: Any) -> tuple[str, str]:
    session = OrtSession(program.model)
    found = _run(program, session, sample.tensors)
    if (difference := _difference(found, wanted)) and not program.provenance.warnings:
        return "wrong", difference
    doubled = _doubled(sample, program)
    if doubled is None:
        return "right", "fixed"
    try:
        with torch.no_grad():
            wanted = sample(*(t.clone() for t in doubled))
    except Exception:  # noqa: BLE001 - the op takes no such sizes, so nothing is promised
        return "right", "one size"
    try:
        found = _run(program, session, doubled)
    except qc.errors.FeedError as error:
        return "right", f"guarded: {error.what}"
    difference = _difference(found, wanted)
    return ("wrong", f"doubled: {difference}") if difference else ("right", "open")


def _run(program: Any, session: OrtSession, tensors: tuple[torch.Tensor, ...]) -> list[Any]:
    from qcompiler.execution.feeds import normalize_feed

    feed = normalize_feed(program.signature, tuple(tensors))
    return pytree.tree_leaves(program.signature.unflatten(session.run(feed)))


def _doubled(sample: Sample, program: Any) -> tuple[torch.Tensor, ...] | None:
    """The arguments with every open axis twice as long; None if there is none."""
    grown = []
    for tensor, spec in zip(sample.tensors, program.signature.inputs, strict=False):
        longer = tensor
        for axis, dim in enumerate(spec.shape):
            if not isinstance(dim, int):
                longer = torch.cat([longer, longer], axis)
        grown.append(longer)
    return tuple(grown) if [g.shape for g in grown] != [t.shape for t in sample.tensors] else None


def _all_tensors(result: Any) -> bool:
    leaves = pytree.tree_leaves(result)
    return bool(leaves) and all(isinstance(leaf, torch.Tensor) for leaf in leaves)


def _difference(found: list[Any], wanted: Any) -> str:
    """The largest difference of the first output that differs; empty if none does."""
    for index, (have, want) in enumerate(zip(found, pytree.tree_leaves(wanted), strict=True)):
        left, right = np.asarray(have), want.detach().resolve_conj().resolve_neg().numpy()
        if left.shape != right.shape:
            return f"output {index} is {left.shape}, should be {right.shape}"
        if left.dtype != right.dtype:
            return f"output {index} is {left.dtype}, should be {right.dtype}"
        if not np.allclose(left, right, **_TOLERANCE, equal_nan=True):
            return f"output {index} differs by {np.nanmax(np.abs(left - right * 1.0)):.3g}"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="a word in the name")
    parser.add_argument("--samples", type=int, default=4, help="kinds of samples of each op")
    parser.add_argument("--part", default="0/1", help="which of how many parts")
    parser.add_argument("--out", type=Path, help="JSON lines; names in it already are skipped")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    part, parts = map(int, options.part.split("/"))
    done = set()
    if options.out and options.out.exists():
        done = {json.loads(line)["name"] for line in options.out.read_text().splitlines()}
    everything = [
        *op_samples(options.only, options.samples),
        *module_samples(options.only, options.samples),
    ]
    total: Counter[str] = Counter()
    for name, samples in everything[part::parts]:
        if name in done or any(word in name for word in _RANDOM):
            continue
        total.update(_report(name, samples, options.out))
    print(dict(total))


def _report(name: str, samples: Callable[[], Iterator[Sample]], out: Path | None) -> Counter[str]:
    torch.manual_seed(0)
    found: Counter[str] = Counter()
    first: dict[str, str] = {}
    try:
        for sample in samples():
            kind, text = outcome(sample)
            found[kind] += 1
            shapes = [tuple(t.shape) for t in sample.tensors]
            fixed = [each[0] for each in sample.fixed if each is not None]
            first.setdefault(kind, f"{shapes} {fixed}: {text}"[:600])
    except Exception as error:  # noqa: BLE001 - torch's own generator or the eager op fails
        first["skipped"] = f"{type(error).__name__}: {error}"
    bad = {kind: text for kind, text in first.items() if kind not in ("right", "skipped")}
    print(
        name, dict(found), *(f"\n    {k}: {t.splitlines()[0]}" for k, t in bad.items()), flush=True
    )
    if out:
        with out.open("a") as file:
            file.write(json.dumps({"name": name, "counts": found, "first": first}) + "\n")
    return found


if __name__ == "__main__":
    main()
