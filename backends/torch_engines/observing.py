"""What a running module shows: seconds of every call, and interior values. Neither changes it."""

from __future__ import annotations

import operator
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import fx

from qcompiler.backends.torch_engines.lowering import Held

Array = npt.NDArray[Any]
Inputs = Sequence[torch.Tensor]


class Stopwatch:
    """A copy of a GraphModule that writes down the time after every call.

    The copy shares weights with the original and is compiled like it, so a clock reading and a list
    store (0.1 µs) are all that is added; an interpreter would add more than small kernels take.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        graph = fx.Graph()
        slots = graph.placeholder("slots")
        copies: dict[fx.Node, fx.Node] = {}
        self._nodes: list[fx.Node] = []
        for node in module.graph.nodes:
            copies[node] = graph.node_copy(node, lambda each: copies[each])
            if node.op in ("call_function", "call_method", "call_module"):
                self._nodes.append(node)
                now = graph.call_function(time.perf_counter)
                graph.call_function(operator.setitem, (slots, len(self._nodes), now))
        self._module = fx.GraphModule(module, graph)

    def seconds(self, feeds: Sequence[Inputs], at_least: float) -> dict[fx.Node, float]:
        """Seconds of every call: the fastest repetition of each feed, averaged over the feeds.

        Args:
            feeds: Inputs of one run each.
            at_least: Wall time to spend; every feed runs three times anyway.
        """
        slots = [0.0] * (len(self._nodes) + 1)
        total: dict[fx.Node, float] = defaultdict(float)
        for inputs in feeds:
            best = np.full(len(self._nodes), np.inf)
            end = time.perf_counter() + at_least / len(feeds)
            runs = 0
            while runs < 3 or time.perf_counter() < end:
                slots[0] = time.perf_counter()
                self._module(slots, *inputs)
                best = np.minimum(best, np.diff(slots))
                runs += 1
            for node, spent in zip(self._nodes, best, strict=True):
                total[node] += float(spent) / len(feeds)
        return total


class Tap(fx.Interpreter):
    """Runs a module node by node and copies the values that were asked for when they are made.

    A fused addition overwrites one of its operands later on, hence the copies.
    """

    def __init__(self, module: fx.GraphModule, wanted: Mapping[str, Held]) -> None:
        super().__init__(module)
        self._names = defaultdict(list)
        for name, held in wanted.items():
            self._names[held.node].append((name, held.signed))
        self.found: dict[str, Array] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        for name, signed in self._names.get(n.name, ()):
            if isinstance(result, torch.Tensor):
                self.found[name] = _plain(result, signed)
        return result


def _plain(value: torch.Tensor, signed: bool) -> Array:
    """A copy as numpy; quantized tensors as the integers that ONNX has."""
    if not value.is_quantized:
        return np.array(value.numpy(), copy=True)
    stored = value.int_repr().numpy()
    return (stored.astype(np.int16) - 128).astype(np.int8) if signed else stored
