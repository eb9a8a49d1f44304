"""What a user gives as one call of a torch module, tried on the module itself first.

The module is the judge of what a feed means: each way to read it that fits `forward` is run, so
that a feed that the module cannot run is told as that, and not as a failure of the capture.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils import _pytree as pytree

from qcompiler.errors import ConfigurationError
from qcompiler.frontends.torch_call import Call, binds, failure, holds_double, tensors_of, tried
from qcompiler.frontends.torch_refusals import described, misfit, refused
from qcompiler.ir.signature import spellings
from qcompiler.ir.surplus import Surplus, ambiguous, look_alike


def example_call(module: torch.nn.Module, example_inputs: Any, surplus: bool = False) -> Call:
    """Reads `example_inputs`: a tensor, a tuple (a dict may end it), a list, or a dict of kwargs.

    Args:
        module: In evaluation mode; it is run, its buffers and the example stay as they are.
        example_inputs: One feed.
        surplus: Entries beyond what `forward` takes (labels) may be left out, if the module runs
            without them and they look unlike what it takes.

    Raises:
        ConfigurationError: There are none, or they do not fit `forward`.
        FeedError: The module itself cannot run them, or it is not clear what is to be left out.
    """
    signature = inspect.signature(module.forward)
    if example_inputs is None:
        raise ConfigurationError(
            f"a torch module needs example inputs to be captured ({type(module).__name__})",
            fix="give example_inputs=(tensor, ...) or calibration data",
        )
    double = any(each.dtype is torch.float64 for each in module.parameters())
    spelt = [each for each in spellings(example_inputs) if binds(signature, *each)]
    fitting = [Call(*tensors_of(args, kwargs, double), signature) for args, kwargs in spelt]
    shorter = list(_shorter(signature, example_inputs, double)) if surplus else []
    failures: list[Exception] = []
    for (args, kwargs), call in zip(spelt, fitting, strict=True):
        if not double and holds_double(args, kwargs):
            exact = Call(*tensors_of(args, kwargs, True), signature)
            found = tried(module, exact)
            if isinstance(found, Call):
                return found
        found = tried(module, call)
        if isinstance(found, Call):
            return found
        failures.append(found)
    what = "the first feed" if surplus else "the example inputs"
    direct = _is_direct(fitting, example_inputs)
    for call in [each for each in shorter if _is_keyed(each) or not direct]:
        error = failure(module, call)
        if error is None:
            return _without_labels(call, example_inputs)
        failures = [error, *failures]
    if not failures or not (direct or shorter):
        raise misfit(module, signature, example_inputs, what)
    raise refused(module, example_inputs, shorter, failures, what) from failures[0]


def opened(call: Call, others: Sequence[Any]) -> Call:
    """The call with the axes, behind the first, in which other feeds differ from it."""
    tensors, nest = pytree.tree_flatten((call.args, call.kwargs))
    axes: dict[int, set[int]] = {}
    for other in others:
        feed = other if call.surplus is None else call.surplus.without(other)
        for args, kwargs in spellings(feed):
            leaves, found = pytree.tree_flatten((args, {str(k): v for k, v in kwargs.items()}))
            if found != nest:
                continue
            for mine, theirs in zip(tensors, leaves, strict=True):
                axes.setdefault(id(mine), set()).update(_differing(mine, theirs))
            break
    known = {key: tuple(sorted(each)) for key, each in axes.items() if each}
    return replace(call, open_axes=known)


def _differing(mine: Any, theirs: Any) -> Iterator[int]:
    """Axes from 1 on in which two arrays of one rank differ."""
    one, two = getattr(mine, "shape", ()), getattr(theirs, "shape", ())
    if isinstance(mine, torch.Tensor) and len(one) == len(two):
        yield from (axis for axis in range(1, len(one)) if one[axis] != two[axis])


def _shorter(signature: inspect.Signature, example: Any, double: bool) -> Iterator[Call]:
    """Calls that leave entries of the example out: the last ones, or names `forward` has not.

    The first entry of a tuple may be a dict of what `forward` takes: `({"ids": ...}, label)`.
    """
    if isinstance(example, Mapping):
        known = {k: v for k, v in example.items() if k in signature.parameters}
        dropped = tuple(str(name) for name in example if name not in known)
        if known and dropped and binds(signature, (), known):
            yield Call(*tensors_of((), known, double), signature, Surplus(names=dropped))
    elif isinstance(example, list | tuple):
        if len(example) > 1 and isinstance(example[0], Mapping):
            known = {k: v for k, v in example[0].items() if k in signature.parameters}
            dropped = tuple(str(name) for name in example[0] if name not in known)
            surplus = Surplus(kept=1, trailing=len(example) - 1, names=dropped, keyed=True)
            if known and binds(signature, (), known):
                yield Call(*tensors_of((), known, double), signature, surplus)
        for count in range(len(example) - 1, 0, -1):
            if binds(signature, example[:count], {}):
                args, kwargs = tensors_of(example[:count], {}, double)
                surplus = Surplus(kept=count, trailing=len(example) - count)
                yield Call(args, kwargs, signature, surplus)
                return


def _is_keyed(call: Call) -> bool:
    return call.surplus is not None and call.surplus.keyed


def _is_direct(fitting: list[Call], example: Any) -> bool:
    """Whether the whole example fits `forward` entry by entry: then each entry means something."""
    if isinstance(example, Mapping):
        return any(call.kwargs for call in fitting)
    if not isinstance(example, list | tuple):
        return bool(fitting)
    count = len(example)
    return any(len(call.args) + len(call.kwargs) == count for call in fitting)


def _without_labels(call: Call, example: Any) -> Call:
    """The shorter call, if what it leaves out is surely no input.

    Raises:
        FeedError: It looks like what is kept.
    """
    assert call.surplus is not None
    if not call.surplus.names and not call.surplus.keyed:
        kept, dropped = example[: call.surplus.kept], example[call.surplus.kept :]
        if look_alike(kept, dropped):
            raise ambiguous(len(example), call.surplus.kept, described(example))
    return call
