"""Random networks in layers: images, volumes, sequences, words or rows, from a seed alone.

A net is a chain of layers with residuals, branches, shared and tied weights, attention with masks,
recurrence with lengths and control flow, in one of the opsets that models come in. Inputs have
several types and open axes, outputs may be integers. Attributes are drawn from what ONNX allows.
Signals keep a size of about one, so that what int8 loses says something of the compiler and not of
the net.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from qcompiler.testing.random_builder import Builder, Input, Layer
from qcompiler.testing.random_ends import BATCH, KINDS, decided, feed, spelled, words
from qcompiler.testing.random_layers import LAYERS

Array = npt.NDArray[Any]

OPSETS = (13, 14, 15, 16, 17, 17, 18, 19, 20, 21, 22, 23)
_IR = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}
"""The IR version that came with each opset."""
_OTHER = {"batch": 2, "steps": 3, "height": 2, "width": 4}
"""By how much the open axes of `Net.unseen` are longer."""


@dataclass(frozen=True)
class Net:
    """A model with feeds.

    Attributes:
        seed: What it was made from.
        model: Its first input is `x`.
        feeds: For calibration; the first one is judged by.
        layers: Names of the layers in it, in order.
        unseen: A feed with other sizes, if the model has open axes.
        plain: The same function without bodies; None if a Scan is in it.
    """

    seed: int
    model: onnx.ModelProto
    feeds: tuple[dict[str, Array], ...]
    layers: tuple[str, ...]
    unseen: dict[str, Array] | None = None
    plain: onnx.ModelProto | None = None


def net(seed: int) -> Net:
    """The network of a seed: from one kind of input to a few outputs."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, "x", (), opset=OPSETS[int(rng.integers(len(OPSETS)))])
    b.sizes["batch"] = BATCH
    kind = b.one_of(*KINDS)
    kind(b)
    b.layers.append(kind.__name__)
    for _ in range(int(rng.integers(2, 7))):
        layer = _chosen(b)
        b.layers.append(layer.__name__)
        layer(b)
        if b.chance(0.1):
            b.give(b.at)
    for last, wanted in ((spelled, kind is words and b.chance(0.5)), (decided, b.chance(0.3))):
        if wanted:
            b.layers.append(last.__name__)
            last(b)
    feeds = tuple(feed(b, b.sizes) for _ in range(4))
    longer = {axis: n + _OTHER[axis] * (axis in b.free) for axis, n in b.sizes.items()}
    nodes = [each for node in b.nodes for each in b.plain.get(node.output[0], [node])]
    return Net(
        seed,
        _model(b, b.nodes),
        feeds,
        tuple(b.layers),
        feed(b, longer) if b.free else None,
        None if "scanned" in b.layers else _model(b, nodes),
    )


def _chosen(b: Builder) -> Layer:
    return b.one_of(*LAYERS[len(b.shape)])  # type: ignore[no-any-return]


def _model(b: Builder, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    ranks = {**b.ends, b.at: len(b.shape)}
    ends = list(ranks)
    if set(ends) & set(b.inputs):
        copies = [helper.make_node("Identity", [each], [each + "_out"], name=each + "_out_n")
                  for each in ends if each in b.inputs]  # fmt: skip
        nodes = [*nodes, *copies]
        ends = [each + "_out" if each in b.inputs else each for each in ends]
        ranks |= {each + "_out": rank for each, rank in ranks.items()}
    graph = helper.make_graph(
        nodes,
        "random",
        [_declared(b, name, each) for name, each in b.inputs.items()],
        [onnx.ValueInfoProto(name=each) for each in ends],
        [numpy_helper.from_array(array, name) for name, array in b.stored.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", b.opset)])
    made.ir_version = _IR[b.opset]
    inferred = onnx.shape_inference.infer_shapes(made, data_prop=True)
    types = {each.name: each for each in (*inferred.graph.output, *inferred.graph.value_info)}
    del made.graph.output[:]
    for each in ends:
        if not types[each].type.tensor_type.HasField("shape"):
            kind = types[each].type.tensor_type.elem_type or TensorProto.FLOAT
            types[each] = helper.make_tensor_value_info(each, kind, [None] * ranks[each])
        made.graph.output.append(types[each])
    return made


def _declared(b: Builder, name: str, given: Input) -> onnx.ValueInfoProto:
    axes = [b.sizes[a] if a in b.sizes and a not in b.free else a for a in given.axes]
    dtype = given.made(np.random.default_rng(0), b.sizes).dtype
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), axes)
