"""Interior integers of a program: a copy of it whose dequantized values are outputs, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from qcompiler.backends.executorch.delegation import delegate
from qcompiler.backends.executorch.layers import Layer
from qcompiler.backends.executorch.runtime import Array, ExecuTorchSession
from qcompiler.ir.signature import Feed, Signature
from qcompiler.ir.walk import is_op
from qcompiler.lowering.torch_fx.constants import Levels, levels_of

_ANY = 1 << 31


@dataclass(frozen=True, eq=False)
class _Copy:
    """A lowered copy, and which of its outputs shows which value with which levels."""

    session: ExecuTorchSession
    shown: Mapping[str, tuple[int, Levels]]


class Tap:
    """Lowers the copy for the shapes of a feed and reads it.

    XNNPACK dequantizes int8 exactly in float32 and back, so the integers are what its kernels
    wrote. Where the copy's kernels are others than the program's, nothing is shown.

    Args:
        model: The placed graph.
        signature: Its inputs and outputs.
        values: Names of quantized values.
        layers: What the program itself runs.
    """

    def __init__(
        self, model: ir.Model, signature: Signature, values: Sequence[str], layers: Sequence[Layer]
    ) -> None:
        self._model = model
        self._signature = signature
        self._values = set(values)
        self._layers = layers
        self._copies: dict[tuple[tuple[int, ...], ...], _Copy | None] = {}

    def run(self, feed: Feed) -> Mapping[str, Array]:
        """Integers by name."""
        shapes = tuple(feed[name].shape for name in self._signature.input_names)
        if shapes not in self._copies:
            self._copies[shapes] = self._lowered(shapes)
        copy = self._copies[shapes]
        if copy is None:
            return {}
        found = copy.session.run(feed)
        return {
            name: _integers(found[place], levels) for name, (place, levels) in copy.shown.items()
        }

    def _lowered(self, shapes: Sequence[tuple[int, ...]]) -> _Copy | None:
        model = self._model.clone()
        for value, shape in zip(model.graph.inputs, shapes, strict=True):
            value.shape = ir.Shape(shape)
        shown = _shown(model.graph, self._values)
        outputs = list(model.graph.outputs)
        outputs += [value for value, _ in shown.values() if value not in outputs]
        model.graph.outputs[:] = outputs
        lowering = delegate(model, None)
        if _kernels(lowering.layers) != _kernels(self._layers):
            return None
        session = ExecuTorchSession(lowering.written({}), self._signature, _ANY, _ANY)
        places = {name: (outputs.index(v), levels) for name, (v, levels) in shown.items()}
        return _Copy(session, places)


def _shown(graph: ir.Graph, values: set[str]) -> dict[str, tuple[ir.Value, Levels]]:
    """Per quantized value a dequantized copy that the graph has already."""
    found: dict[str, tuple[ir.Value, Levels]] = {}
    for node in graph:
        source = node.inputs[0] if node.inputs else None
        if not is_op(node, "DequantizeLinear") or source is None or source.name not in values:
            continue
        levels = levels_of(node)
        if levels is not None:
            found.setdefault(source.name or "", (node.outputs[0], levels))
    return found


def _kernels(layers: Sequence[Layer]) -> Counter[tuple[str | None, str]]:
    return Counter((each.weight, each.summary) for each in layers if each.objection is None)


def _integers(real: Array, levels: Levels) -> Array:
    steps = np.rint(real / np.float32(levels.scale)).astype(np.int64) + levels.zero_point
    if levels.signed:
        return (steps - 128).astype(np.int8)
    return steps.astype(np.uint8)
