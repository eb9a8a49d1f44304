"""What every output is for: told by its head in the graph, checked against its numbers.

What the graph proves (a Softmax) comes first; a linear layer is taken for class scores only if a
sibling picks from it, its name says so, or its numbers behave so. In doubt an output is values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.outputs.evidence import (
    are_probabilities,
    axis_of,
    log_probability_axis,
    look_like_classes,
    probability_axis,
    unit_axis,
)
from qcompiler.outputs.heads import Head, Op, chosen_from, head_of
from qcompiler.outputs.kinds import OutputKind, Purpose, Scale

Array = npt.NDArray[Any]
_LOGITS = re.compile(r"logit", re.IGNORECASE)


def output_kinds(program: Program, reference: Sequence[Sequence[Any]]) -> list[OutputKind]:
    """What every output of a program is for.

    Args:
        program: The float program; not changed.
        reference: Its outputs per sample, in signature order; without samples nothing is known.
    """
    names = program.signature.output_names
    if not reference:
        return [OutputKind(Purpose.VALUES, "there are no samples") for _ in names]
    values = {value.name: value for value in program.graph.outputs}
    found = []
    for position, name in enumerate(names[: len(reference[0])]):
        samples = [outputs[position] for outputs in reference]
        found.append(_kind(values.get(name), samples))
    return found


def _kind(value: ir.Value | None, samples: Sequence[Any]) -> OutputKind:
    if not all(isinstance(each, np.ndarray) for each in samples):
        return OutputKind(Purpose.VALUES, "no plain tensor")
    head = head_of(value) if value is not None else None
    if samples[0].dtype.kind in "iub":
        found = OutputKind(Purpose.LABELS, f"{samples[0].dtype} numbers")
        if head is not None and head.op is Op.INDEX:
            found = OutputKind(Purpose.LABELS, head.told)
        return found
    if samples[0].dtype.kind != "f" or head is None:
        return OutputKind(Purpose.VALUES, f"{samples[0].dtype} numbers")
    return _of_head(head, samples)


def _of_head(head: Head, samples: Sequence[Array]) -> OutputKind:
    if head.op is Op.INDEX:  # an index that was cast
        return OutputKind(Purpose.LABELS, head.told)
    found = _JUDGES[head.op](head, samples)
    return found if found is not None else _of_numbers(head, samples)


def _of_softmax(head: Head, samples: Sequence[Array]) -> OutputKind | None:
    if head.attention:
        return OutputKind(Purpose.VALUES, f"attention weights of {head.told}")
    axis = probability_axis(samples)
    if axis is not None:
        return OutputKind(Purpose.CLASSES, head.told, Scale.PROBABILITIES, axis)
    if are_probabilities(samples):
        return OutputKind(Purpose.YES_NO, f"part of {head.told}", Scale.PROBABILITIES)
    return None


def _of_log_softmax(head: Head, samples: Sequence[Array]) -> OutputKind | None:
    axis = log_probability_axis(samples)
    if axis is None:
        return None
    return OutputKind(Purpose.CLASSES, head.told, Scale.LOG_PROBABILITIES, axis)


def _of_sigmoid(head: Head, samples: Sequence[Array]) -> OutputKind | None:
    if not are_probabilities(samples):
        return None
    return OutputKind(Purpose.YES_NO, head.told, Scale.PROBABILITIES)


def _of_normalized(head: Head, samples: Sequence[Array]) -> OutputKind | None:
    axis = unit_axis(samples)
    return None if axis is None else OutputKind(Purpose.EMBEDDING, head.told, axis=axis)


def _of_pooled(head: Head, samples: Sequence[Array]) -> OutputKind | None:
    """Pooled features are compared; a convolution may also give classes that are pooled."""
    axis = _long_axis(samples)
    if axis is None:
        return None
    chooser = chosen_from(head.value)
    if chooser is not None or look_like_classes(samples, axis):
        told = f"what {head.told} gives " + (f"goes to {chooser}" if chooser else _BEHAVES)
        return OutputKind(Purpose.CLASSES, told, Scale.LOGITS, axis)
    return OutputKind(Purpose.EMBEDDING, f"pooled by {head.told}", axis=axis)


def _of_state(head: Head, samples: Sequence[Array]) -> OutputKind | None:
    return OutputKind(Purpose.STATE, head.told)


def _of_linear(head: Head, samples: Sequence[Array]) -> OutputKind | None:
    """Class scores if anything speaks for it; else None, and the numbers tell."""
    axis = axis_of(samples, head.features or 0)
    if axis is None or samples[0].shape[axis] < 2:
        return None
    chooser, name = chosen_from(head.value), head.value.name or ""
    if chooser is not None:
        why = f"{head.told}, from which {chooser} chooses"
    elif _LOGITS.search(name) and samples[0].shape[axis] > 2:
        why = f"{head.told}, whose result is named '{name}'"
    elif look_like_classes(samples, axis):
        why = f"{head.told}, whose result {_BEHAVES}"
    else:
        return None
    return OutputKind(Purpose.CLASSES, why, Scale.LOGITS, axis)


def _of_joined(head: Head, samples: Sequence[Array]) -> OutputKind | None:
    """What all parts agree on; parts of several kinds are values."""
    kinds = {each.op for each in head.parts}
    alike = kinds.pop() if len(kinds) == 1 else None
    if alike in (Op.SOFTMAX, Op.SIGMOID, Op.LOG_SOFTMAX):
        told = f"{head.parts[0].told}, joined"
        whole = Head(alike, head.value, told, attention=any(e.attention for e in head.parts))
        return _JUDGES[alike](whole, samples)
    return OutputKind(Purpose.VALUES, f"parts joined by {head.told}")


def _of_other(head: Head, samples: Sequence[Array]) -> OutputKind | None:
    return None


_BEHAVES = "behaves like class scores on the samples"
_JUDGES: Mapping[Op, Callable[[Head, Sequence[Array]], OutputKind | None]] = MappingProxyType(
    {
        Op.SOFTMAX: _of_softmax,
        Op.LOG_SOFTMAX: _of_log_softmax,
        Op.SIGMOID: _of_sigmoid,
        Op.NORMALIZED: _of_normalized,
        Op.POOLED: _of_pooled,
        Op.STATE: _of_state,
        Op.LINEAR: _of_linear,
        Op.JOINED: _of_joined,
        Op.OTHER: _of_other,
    }
)


def _of_numbers(head: Head, samples: Sequence[Array]) -> OutputKind:
    """What remains: distributions are classes, unit rows an embedding, all else is values."""
    axis = probability_axis(samples)
    if axis is not None:
        told = f"{head.told} gives numbers in 0..1 whose sum is 1"
        return OutputKind(Purpose.CLASSES, told, Scale.PROBABILITIES, axis)
    axis = unit_axis(samples)
    if axis is not None:
        return OutputKind(Purpose.EMBEDDING, f"rows of length 1 from {head.told}", axis=axis)
    return OutputKind(Purpose.VALUES, f"{head.told} tells of no decision")


def _long_axis(samples: Sequence[Array]) -> int | None:
    """The last axis with several elements, counted from the end."""
    first = samples[0].shape
    found = next((axis for axis in range(-1, -len(first) - 1, -1) if first[axis] > 1), None)
    if found is None or any(each.ndim != len(first) for each in samples):
        return None
    return found if all(each.shape[found] == first[found] for each in samples) else None
