"""Random networks in layers: images, sequences or rows, from a seed alone.

A net is a chain of layers with residuals, branches, shared weights, attention, recurrence and
control flow. Attributes are drawn from what ONNX allows. Signals keep a size of about one, so that
what int8 loses says something of the compiler and not of the net.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from qcompiler.testing.random_builder import Builder, Layer, Shape
from qcompiler.testing.random_layers import LAYERS

Array = npt.NDArray[Any]

_OPSET, _IR = 17, 8
_BATCH = 3


@dataclass(frozen=True)
class Net:
    """A model with feeds.

    Attributes:
        seed: What it was made from.
        model: Its single float input is `x`.
        feeds: For calibration; the first one is judged by.
        layers: Names of the layers in it, in order.
    """

    seed: int
    model: onnx.ModelProto
    feeds: tuple[dict[str, Array], ...]
    layers: tuple[str, ...]


def net(seed: int) -> Net:
    """The network of a seed: from images, sequences or rows to a few outputs."""
    rng = np.random.default_rng(seed)
    kind = ("images", "images", "sequences", "rows")[int(rng.integers(4))]
    free = bool(rng.random() < 0.6)
    shape = _first_shape(kind, rng)
    builder = Builder(rng, "x", shape)
    for _ in range(int(rng.integers(2, 7))):
        layer = _chosen(builder)
        builder.layers.append(layer.__name__.strip("_"))
        layer(builder)
        if builder.chance(0.1):
            builder.ends.append(builder.at)
    model = _model(builder, shape, free)
    feeds = tuple(
        {"x": rng.standard_normal((_BATCH, *shape[1:])).astype(np.float32)} for _ in range(4)
    )
    return Net(seed, model, feeds, tuple(builder.layers))


def _first_shape(kind: str, rng: np.random.Generator) -> Shape:
    if kind == "images":
        side = int(rng.integers(6, 15))
        return (_BATCH, int(rng.integers(1, 9)), side, side + int(rng.integers(0, 3)))
    if kind == "sequences":
        return (_BATCH, int(rng.integers(2, 10)), 4 * int(rng.integers(1, 7)))
    return (_BATCH, int(rng.integers(3, 40)))


def _chosen(b: Builder) -> Layer:
    return b.one_of(*LAYERS[len(b.shape)])  # type: ignore[no-any-return]


def _model(b: Builder, shape: Shape, free: bool) -> onnx.ModelProto:
    ends = dict.fromkeys([*b.ends, b.at])
    if "x" in ends:
        b.then("Identity")
        ends = dict.fromkeys([*(each for each in ends if each != "x"), b.at])
    batch: Any = "batch" if free else shape[0]
    graph = helper.make_graph(
        b.nodes,
        "random",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *shape[1:]])],
        [onnx.ValueInfoProto(name=each) for each in ends],
        [numpy_helper.from_array(array, name) for name, array in b.stored.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    made.ir_version = _IR
    inferred = onnx.shape_inference.infer_shapes(made, data_prop=True)
    types = {each.name: each for each in (*inferred.graph.output, *inferred.graph.value_info)}
    del made.graph.output[:]
    made.graph.output.extend(types[each] for each in ends)
    return made
