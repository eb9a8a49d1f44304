"""Lets a lowered module be called on its own: its engine is torch's current one meanwhile."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch

from qcompiler.backends.torch_engines import adapter


class EngineGuard:
    """Hooks around the calls of a module: torch's add, cat and pools look at the current engine."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._entered: list[ExitStack] = []

    def before(self, module: torch.nn.Module, inputs: Any) -> None:
        """Sets the engine; torch's global setting is locked until `after`."""
        with ExitStack() as stack:
            stack.enter_context(adapter.engine_scope(self._engine))
            self._entered.append(stack.pop_all())

    def after(self, module: torch.nn.Module, inputs: Any, outputs: Any) -> None:
        """Sets back what was there, after an error too."""
        if self._entered:
            self._entered.pop().close()


def guard(module: torch.nn.Module, engine: str) -> None:
    """Makes calls of the module run under the engine."""
    hooks = EngineGuard(engine)
    module.register_forward_pre_hook(hooks.before)
    module.register_forward_hook(hooks.after, always_call=True)
