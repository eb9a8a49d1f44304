"""`GraphWriter`: appends calls and attributes to the fx graph of one program graph."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import fx


class GraphWriter:
    """An fx graph under construction, with names that follow the source's module paths."""

    def __init__(self) -> None:
        self.root = torch.nn.Module()
        self.graph = fx.Graph()
        self.stem = "value"
        self.region = ""
        self._attributes: set[str] = set()
        self._modules: dict[torch.nn.Module, str] = {}

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """A call named after the current stem."""
        return self._marked(
            self.graph.create_node(
                "call_function", function, tuple(args), kwargs, name=identifier(self.stem)
            )
        )

    def method(self, name: str, *args: Any) -> fx.Node:
        """A call of a tensor method."""
        node = self.graph.create_node("call_method", name, tuple(args), name=identifier(self.stem))
        return self._marked(node)

    def module(self, stem: str, module: torch.nn.Module, *args: Any) -> fx.Node:
        """A call of a submodule; one that is called again keeps its name."""
        if module not in self._modules:
            self._modules[module] = self._fresh(stem)
            self.root.add_module(self._modules[module], module)
        name = self._modules[module]
        node = self.graph.create_node("call_module", name, tuple(args), name=identifier(self.stem))
        return self._marked(node)

    def attribute(self, stem: str, value: Any) -> fx.Node:
        """A tensor (as a buffer) or packed weight, named `<current stem>_<stem>`."""
        name = self._fresh(f"{self.stem}_{stem}" if stem else self.stem)
        if isinstance(value, torch.Tensor):
            self.root.register_buffer(name, value)
        else:
            setattr(self.root, name, value)
        return self.graph.create_node("get_attr", name, name=f"{name}_")

    def dotted(self, name: str, value: torch.Tensor, kept: bool = True) -> fx.Node:
        """A parameter or buffer under its own dotted name.

        `block.0.weight` stands inside modules of that path. A buffer that is not `kept` is in no
        state dict.
        """
        *path, leaf = [part or "_" for part in name.split(".")]
        owner = self.root
        for part in path:
            if not hasattr(owner, part):
                owner.add_module(part, torch.nn.Module())
            inner = getattr(owner, part)
            if not isinstance(inner, torch.nn.Module):
                return self.dotted(name.replace(".", "_"), value, kept)
            owner = inner
        while hasattr(owner, leaf):
            leaf += "_"
        if isinstance(value, torch.nn.Parameter):
            owner.register_parameter(leaf, value)
        else:
            owner.register_buffer(leaf, value, persistent=kept)
        return self.graph.create_node("get_attr", ".".join([*path, leaf]), name=identifier(name))

    def placeholder(self, name: str) -> fx.Node:
        """An input."""
        return self.graph.create_node("placeholder", self._fresh(name), name=identifier(name))

    def _marked(self, node: fx.Node) -> fx.Node:
        """Remembers which ONNX node a call computes, for timing."""
        node.meta["node"] = self.region
        return node

    def _fresh(self, stem: str) -> str:
        name = wanted = identifier(stem)
        count = 1
        while name in self._attributes or hasattr(self.root, name):
            name, count = f"{wanted}_{count}", count + 1
        self._attributes.add(name)
        return name


def identifier(text: str) -> str:
    """A Python identifier made from any name."""
    cleaned = re.sub(r"\W+", "_", text).strip("_") or "value"
    return f"_{cleaned}" if cleaned[0].isdigit() else cleaned
