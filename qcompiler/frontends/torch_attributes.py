"""What a call changes of a module besides its buffers: put back after compiling, and told.

Numbers, lists, tensors that are plain attributes, parameters: torch.export traces through them,
so that a capture holds their state of one moment, and running a module to capture it goes on with
its state. Buffers are in the capture's own signature (`torch_state`).
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import torch

_OWN = frozenset(vars(torch.nn.Module())) - {"training"}
"""Attributes that torch.nn.Module keeps itself."""
_CONTAINERS = (list, dict, set, deque)

Attributes = Mapping[tuple[str, str], Any]
"""By path of the module and name; containers with a copy of what is in them."""


def attributes(module: torch.nn.Module) -> Attributes:
    """The plain attributes of a module and of its parts, as they are now."""
    return {
        (path, name): (value, _contents(value))
        for path, part in module.named_modules()
        if not isinstance(part, torch.jit.ScriptModule)
        for name, value in vars(part).items()
        if name not in _OWN
    }


def changed(before: Attributes, after: Attributes) -> list[str]:
    """Names of the attributes that differ."""
    names = dict.fromkeys((*before, *after))
    return [
        f"{path}.{name}".lstrip(".")
        for path, name in names
        if not _is_same(before.get((path, name)), after.get((path, name)))
    ]


@contextlib.contextmanager
def left_as_it_was(module: torch.nn.Module) -> Iterator[Attributes]:
    """Gives the plain attributes, and puts them back whatever calls of the module made of them."""
    before = attributes(module)
    try:
        yield before
    finally:
        parts = dict(module.named_modules())
        for path, name in attributes(module):
            if (path, name) not in before:
                delattr(parts[path], name)
        for (path, name), (value, contents) in before.items():
            if path in parts:
                parts[path].__dict__[name] = value
                _refill(value, contents)


def lazily_copied(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name, whose memory is copied once somebody writes to it."""
    with torch.no_grad():
        parameters = {name: _lazy(each) for name, each in module.named_parameters()}
        return parameters | {name: each.clone() for name, each in module.named_buffers()}


def _lazy(tensor: torch.Tensor) -> torch.Tensor:
    lazy: torch.Tensor = tensor._lazy_clone()
    return lazy


def _contents(value: Any) -> Any:
    """What tells a changed value from the same: the entries of a container, a tensor's version."""
    if isinstance(value, _CONTAINERS):
        return list(value.items()) if isinstance(value, dict) else list(value)
    if isinstance(value, torch.Tensor) and not value.is_inference():
        return value._version
    return None


def _is_same(before: Any, after: Any) -> bool:
    if before is None or after is None:
        return False
    (value, contents), (other, others) = before, after
    if isinstance(value, _CONTAINERS) and value is other:
        same = len(contents) == len(others)
        return same and all(map(_is_equal, contents, others))
    return (value is other and contents == others) or _is_plainly_equal(value, other)


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        return all(map(_is_equal, one, other))
    return one is other or _is_plainly_equal(one, other)


def _is_plainly_equal(one: Any, other: Any) -> bool:
    plain = (bool, int, float, complex, str, bytes)
    return type(one) is type(other) and isinstance(one, plain) and one == other


def _refill(value: Any, contents: Any) -> None:
    """Gives a container its old entries."""
    if not isinstance(value, _CONTAINERS) or _is_same((value, contents), (value, _contents(value))):
        return
    value.clear()
    if isinstance(value, set | dict):
        value.update(contents)
    else:
        value.extend(contents)
