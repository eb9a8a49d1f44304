"""`Builder`: an ONNX graph that grows node by node from random numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


@dataclass
class Builder:
    """A graph that grows. `shape` is that of `at`, with the batch as a number."""

    rng: np.random.Generator
    at: str
    shape: Shape
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    stored: dict[str, Array] = field(default_factory=dict)
    ends: list[str] = field(default_factory=list)
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
        name = self.name("w")
        values = mean + self.rng.standard_normal(shape) / np.sqrt(fan)
        self.stored[name] = np.asarray(values, np.float32)
        return name

    def ints(self, *numbers: int) -> str:
        name = self.name("k")
        self.stored[name] = np.asarray(numbers, np.int64)
        return name

    def scalar(self, value: float) -> str:
        name = self.name("s")
        self.stored[name] = np.asarray(value, np.float32)
        return name

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


Layer = Callable[[Builder], None]
