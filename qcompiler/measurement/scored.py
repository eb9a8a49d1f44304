"""What choices are fitted to: outputs in front of a last Softmax, and samples larger than seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir

from qcompiler.execution.session import OrtSession
from qcompiler.ir.optraits import traits
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.ir.walk import all_nodes, is_op, producer_of
from qcompiler.measurement.parts import Slicer
from qcompiler.measurement.slices import OutputSlices

MOST = 12
"""Samples that choices are fitted to, besides half as many stressed ones."""
_STRESS = 1.25
"""Factor on the inputs of stressed samples."""


def stressed(feeds: Sequence[Feed]) -> list[Feed]:
    """The feeds with larger numbers, in the place of those that use brings and calibration lacks.

    A range that clips what calibration saw looks good on samples like those. mobilenet_v2 by
    `moving-average` keeps 14.3 dB on photos like the calibrated ones and falls from 0.73 to 0.48
    top-1 on photos on plain ground. Inputs of two numbers or fewer are masks and stay.
    """
    return [{name: _larger(array) for name, array in feed.items()} for feed in feeds]


def _larger(array: Any) -> Any:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        return array
    if np.unique(array[np.isfinite(array)]).size <= 2:
        return array
    return (array * _STRESS).astype(array.dtype)


class Referred(NamedTuple):
    """Feeds, what float gives for them, and the slices that losses of it are taken of."""

    feeds: tuple[Feed, ...]
    reference: list[list[Any]]
    slices: list[OutputSlices]


def referred(program: Program, feeds: Sequence[Feed]) -> Referred:
    """Feeds with what float gives for them; without those of which it makes no numbers."""
    session = OrtSession(program.model)
    kept, found = [], []
    for feed in feeds:
        outputs = session.run_checked(feed)
        if all(_is_finite(each) for each in outputs):
            kept.append(feed)
            found.append(outputs)
    return Referred(tuple(kept), found, Slicer(program)(kept, found))


def _is_finite(output: Any) -> bool:
    if not isinstance(output, np.ndarray) or output.dtype.kind != "f":
        return True
    return bool(np.isfinite(output).all())


def scored_program(program: Program) -> Program:
    """A copy whose outputs are what enters a last Softmax: behind it, a few samples decide all.

    Probabilities near 0 and 1 have next to no noise, so the loss of a classifier over some samples
    is that of the one or two which it is unsure of, and choices fitted to it fit those.
    """
    copy = program.clone()
    outputs = copy.graph.outputs
    names = list(copy.signature.output_names)
    for position, value in enumerate(outputs):
        logits = _logits(value)
        if logits is not None and logits not in outputs:
            outputs[position] = logits
            names[position] = logits.name or ""
    specs = zip(copy.signature.outputs, names, strict=True)
    renamed = tuple(replace(spec, name=name) for spec, name in specs)
    copy.signature = replace(copy.signature, outputs=renamed)
    return copy


_DECIDES = ("Softmax", "LogSoftmax", "ArgMax", "TopK", "Hardmax", "Sigmoid")


def unclipped(program: Program) -> set[str]:
    """Values whose largest elements decide: outputs, and what a Softmax or an ArgMax reads.

    A clipped logit ties with others that are clipped: mobilenet_v2 by `moving-average` keeps 14.3
    dB, and falls from 0.73 to 0.48 top-1.
    """
    pending = list(program.graph.outputs)
    pending += [
        node.inputs[0]
        for node in all_nodes(program.model)
        if is_op(node, *_DECIDES) and node.inputs[0] is not None
    ]
    found: set[str] = set()
    while pending:
        value = pending.pop()
        if value.name in found:
            continue
        found.add(value.name or "")
        node = value.producer()
        if node is not None and traits(node).moves_data:
            pending += [each for each in node.inputs[:1] if each is not None]
    return found


def _logits(value: ir.Value) -> ir.Value | None:
    """What the Softmax computes from that an output is, moved or not."""
    node = value.producer()
    while node is not None and traits(node).moves_data and len(node.inputs) >= 1:
        node = producer_of(node.inputs[0])
    if node is None or not is_op(node, "Softmax", "LogSoftmax"):
        return None
    found = node.inputs[0]
    return None if found is None or found.producer() is None else found
