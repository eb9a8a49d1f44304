"""One call of a torch module, and running it without leaving a trace."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from qcompiler.frontends.torch_attributes import lazily_copied, left_as_it_was
from qcompiler.ir.surplus import Surplus


@dataclass(frozen=True)
class Call:
    """One call of a module.

    Attributes:
        args: Positional arguments, nested as `forward` takes them, with tensors as leaves.
        kwargs: Named arguments.
        signature: Of `forward`, if it has one of its own.
        surplus: What else the example held.
        open_axes: By identity of a tensor of the call: axes that differ in other feeds.
        batch_axes: By identity of a tensor: which axis is the batch; None stands for axis 0 of all.
        opaque: By number of the leaf: constants that torch.export does not take, None in `args`.
        results: Leaves of what the module returned for it.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    signature: inspect.Signature | None = None
    surplus: Surplus | None = None
    open_axes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    batch_axes: Mapping[int, int] | None = None
    opaque: Mapping[int, Any] = field(default_factory=dict)
    results: tuple[Any, ...] = ()


def failure(module: torch.nn.Module, call: Call) -> Exception | None:
    """What the module raises for a call, None if nothing; module and call stay as they are."""
    with left_as_it_was(module):
        found = tried(module, call)
    return found if isinstance(found, Exception) else None


def tried(module: torch.nn.Module, call: Call) -> Call | Exception:
    """The call with its results, or what the module raises; see `result_of`."""
    try:
        return replace(call, results=tuple(pytree.tree_leaves(result_of(module, call))))
    except Exception as error:  # noqa: BLE001 - user code raises what it likes
        return error


def result_of(module: torch.nn.Module, call: Call) -> Any:
    """What the module returns.

    Parameters, buffers, random state and the call stay as they are; plain attributes do not.
    """
    args, kwargs = pytree.tree_map(_copied, (call.args, call.kwargs))
    held = lazily_copied(module)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return torch.func.functional_call(module, held, args, kwargs)


def _copied(leaf: Any) -> Any:
    return leaf.detach().clone() if isinstance(leaf, torch.Tensor) else leaf


def tensors_of(args: Any, kwargs: Any, double: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Numpy arrays become tensors at any depth, float64 float32 unless the module has it.

    numpy's numbers become Python's, as torch takes them.
    """

    def tensor(leaf: Any) -> Any:
        if isinstance(leaf, np.number | np.bool_):
            return leaf.item()
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "fiubc":
            leaf = torch.from_numpy(_as_torch_takes_it(leaf))
        if isinstance(leaf, torch.Tensor) and leaf.dtype is torch.float64 and not double:
            return leaf.float()
        return leaf

    made = pytree.tree_map(tensor, (tuple(args), {str(k): v for k, v in kwargs.items()}))
    return made[0], made[1]


def holds_double(args: Any, kwargs: Any) -> bool:
    """Whether a tensor is double, which torch makes of nobody's numbers unasked (numpy does)."""
    tensors = [each for each in pytree.tree_leaves((args, kwargs)) if torch.is_tensor(each)]
    return any(each.dtype is torch.float64 for each in tensors)


def _as_torch_takes_it(array: Any) -> Any:
    """Copied if it is read-only, has a negative stride, or another byte order than the machine."""
    forward = all(step >= 0 for step in array.strides)
    plain = array.flags.writeable and forward and array.dtype.isnative
    return array if plain else np.array(array, array.dtype.newbyteorder("="), order="C")


def binds(signature: inspect.Signature, args: Any, kwargs: Any) -> bool:
    """Whether a call fits `forward`."""
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def example_of(exported: torch.export.ExportedProgram) -> Call:
    """The call that an ExportedProgram was captured with (empty if it kept none)."""
    args, kwargs = exported.example_inputs or ((), {})
    return Call(tuple(args), dict(kwargs))
