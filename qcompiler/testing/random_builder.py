"""`Builder`: an ONNX graph that grows node by node from random numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Axes = tuple[int | str, ...]
Draw = Callable[[np.random.Generator, Shape], Array]


@dataclass(frozen=True)
class Input:
    """An input of the network.

    Attributes:
        axes: Sizes, or names of axes whose sizes `Builder.sizes` has.
        draw: Gives an array of a shape, in the input's type.
    """

    axes: Axes
    draw: Draw

    def made(self, rng: np.random.Generator, sizes: Mapping[str, int]) -> Array:
        return self.draw(rng, tuple(sizes[a] if isinstance(a, str) else a for a in self.axes))


@dataclass
class Builder:
    """A graph that grows.

    Attributes:
        rng: What everything is drawn from.
        at: The value made last.
        shape: Its shape at the sizes of the first feed.
        opset: Of ONNX; layers write what it has.
        sizes: Of the axes that have names.
        free: Names of axes whose sizes the model leaves open.
        open: Whether axes beyond the batch may have other sizes than `shape` tells.
        first_steps: Whether the steps of a sequence are those of the input.
        inputs: By name, in order.
        nodes: Of the graph.
        plain: For nodes with bodies the nodes that compute the same without one.
        stored: Weights and constants.
        ends: Outputs besides the last value, with their ranks.
        layers: Names of what was added.
    """

    rng: np.random.Generator
    at: str
    shape: Shape
    opset: int = 17
    sizes: dict[str, int] = field(default_factory=dict)
    free: set[str] = field(default_factory=set)
    open: bool = False
    first_steps: bool = False
    inputs: dict[str, Input] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    plain: dict[str, list[onnx.NodeProto]] = field(default_factory=dict)
    stored: dict[str, Array] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    count: int = 0

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}_{self.count}"

    def one_of(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def weight(self, *shape: int, fan: int = 1, mean: float = 0.0) -> str:
        values = mean + self.rng.standard_normal(shape) / np.sqrt(fan)
        return self.store("w", np.asarray(values, np.float32))

    def store(self, stem: str, array: Array) -> str:
        name = self.name(stem)
        self.stored[name] = array
        return name

    def ints(self, *numbers: int) -> str:
        return self.store("k", np.asarray(numbers, np.int64))

    def scalar(self, value: float) -> str:
        return self.store("s", np.asarray(value, np.float32))

    def put(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """A node; gives its first output."""
        names = [self.name(op.lower()) for _ in range(outputs)]
        kept = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(op, list(inputs), names, name=names[0] + "_n", **kept))
        return names[0]

    def then(self, op: str, *others: str, **attributes: Any) -> str:
        """A node on what was made last, which it becomes."""
        self.at = self.put(op, self.at, *others, **attributes)
        return self.at

    def reduce(self, op: str, value: str, *axes: int, keep: bool = True) -> str:
        """A reduction; its axes are an operand since opset 18 (of ReduceSum since 13)."""
        if self.opset >= 18 or op == "ReduceSum":
            return self.put(op, value, self.ints(*axes), keepdims=int(keep))
        return self.put(op, value, axes=list(axes), keepdims=int(keep))

    def split(self, value: str, axis: int, *sizes: int) -> list[str]:
        """Parts of these sizes, or two halves."""
        if sizes:
            self.put("Split", value, self.ints(*sizes), outputs=len(sizes), axis=axis)
        else:
            count = 2 if self.opset >= 18 else None
            self.put("Split", value, outputs=2, axis=axis, num_outputs=count)
        return list(self.nodes[-1].output)

    def give(self, value: str, rank: int | None = None) -> None:
        """Makes it an output; of the rank of the value made last, if none is told."""
        self.ends[value] = len(self.shape) if rank is None else rank

    def size(self, value: str, axis: int) -> str:
        """The size of an axis as a vector of one number, computed at run time."""
        return self.put("Gather", self.put("Shape", value), self.ints(axis))

    def cast(self, value: str, dtype: int = TensorProto.FLOAT) -> str:
        return self.put("Cast", value, to=dtype)


Layer = Callable[[Builder], None]


def sized(b: Builder) -> int:
    """Elements of one sample."""
    return int(np.prod(b.shape[1:]))
