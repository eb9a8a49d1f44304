"""What a user gives as one call of a torch module, tried on the module itself first.

The module is the judge of what a feed means: each way to read it that fits `forward` is run, so
that a feed that the module cannot run is told as that, and not as a failure of the capture.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from qcompiler.errors import ConfigurationError, FeedError
from qcompiler.frontends.torch_hints import hint_of
from qcompiler.frontends.torch_origin import user_line
from qcompiler.ir.signature import spellings
from qcompiler.ir.surplus import Surplus, ambiguous, look_alike


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
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    signature: inspect.Signature | None = None
    surplus: Surplus | None = None
    open_axes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    batch_axes: Mapping[int, int] | None = None
    opaque: Mapping[int, Any] = field(default_factory=dict)


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
    spelt = [each for each in spellings(example_inputs) if _binds(signature, *each)]
    fitting = [Call(*_tensors(args, kwargs, double), signature) for args, kwargs in spelt]
    shorter = list(_shorter(signature, example_inputs, double)) if surplus else []
    failures: list[Exception] = []
    for (args, kwargs), call in zip(spelt, fitting, strict=True):
        if not double and _holds_double(args, kwargs):
            exact = Call(*_tensors(args, kwargs, True), signature)
            if failure(module, exact) is None:
                return exact
        error = failure(module, call)
        if error is None:
            return call
        failures.append(error)
    direct = _is_direct(fitting, example_inputs)
    if shorter and not direct:
        error = failure(module, shorter[0])
        if error is None:
            return _without_labels(shorter[0], example_inputs)
        failures = [error, *failures]
    if not failures or not (direct or shorter):
        raise _misfit(module, signature, example_inputs)
    raise _refused(module, example_inputs, shorter, failures) from failures[0]


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


def _binds(signature: inspect.Signature, args: Any, kwargs: Any) -> bool:
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _shorter(signature: inspect.Signature, example: Any, double: bool) -> Iterator[Call]:
    """Calls that leave entries of the example out: the last ones, or names `forward` has not."""
    if isinstance(example, Mapping):
        known = {k: v for k, v in example.items() if k in signature.parameters}
        dropped = tuple(str(name) for name in example if name not in known)
        if known and dropped and _binds(signature, (), known):
            yield Call(*_tensors((), known, double), signature, Surplus(names=dropped))
    elif isinstance(example, list | tuple):
        for count in range(len(example) - 1, 0, -1):
            if _binds(signature, example[:count], {}):
                args, kwargs = _tensors(example[:count], {}, double)
                surplus = Surplus(kept=count, trailing=len(example) - count)
                yield Call(args, kwargs, signature, surplus)
                return


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
    if not call.surplus.names:
        kept, dropped = example[: call.surplus.kept], example[call.surplus.kept :]
        if look_alike(kept, dropped):
            raise ambiguous(len(example), call.surplus.kept, described(example))
    return call


def failure(module: torch.nn.Module, call: Call) -> Exception | None:
    """What the module raises for a call; buffers, random state and the call stay as they are."""
    args, kwargs = pytree.tree_map(_copied, (call.args, call.kwargs))
    buffers = {name: each.clone() for name, each in module.named_buffers()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.func.functional_call(module, buffers, args, kwargs)
    except Exception as error:  # noqa: BLE001 - user code raises what it likes
        return error
    return None


def _copied(leaf: Any) -> Any:
    return leaf.detach().clone() if isinstance(leaf, torch.Tensor) else leaf


def _misfit(module: torch.nn.Module, signature: inspect.Signature, example: Any) -> Exception:
    """The example is no call of `forward`."""
    return ConfigurationError(
        f"the example inputs do not fit {type(module).__name__}.forward{signature}",
        where=f"the first feed: {described(example)}",
        why=_binding_error(signature, example),
        fix=hint_of(module, example) or "feed what the module's own call takes",
    )


def _refused(
    module: torch.nn.Module, example: Any, shorter: list[Call], failures: list[Exception]
) -> Exception:
    """The example is a call, which the module cannot run."""
    fix = hint_of(module, example) or "feed what the module's own call takes"
    runs = next((call.surplus for call in shorter if failure(module, call) is None), None)
    if runs is not None and runs.trailing:
        few = f"it runs with the first {runs.kept} of {len(example)} entries"
        fix = f"{few}: feed those alone if the others are labels"
    text = next((each.strip() for each in str(failures[0]).splitlines() if each.strip()), "")
    line = user_line(failures[0])
    return FeedError(
        f"{type(module).__name__} itself cannot run the first feed",
        where=described(example) + (f", at {line}" if line else ""),
        why=f"{type(failures[0]).__name__}: {text}",
        fix=fix,
    )


def _binding_error(signature: inspect.Signature, example: Any) -> str:
    args, kwargs = next(iter(spellings(example)))
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        return str(error)
    return "no way to read it fits"


def described(example: Any) -> str:
    """A feed in few words: its nesting, dtypes and shapes."""
    if isinstance(example, Mapping):
        return "{" + ", ".join(f"{key}: {described(each)}" for key, each in example.items()) + "}"
    if isinstance(example, list | tuple) and not hasattr(example, "_fields"):
        inner = ", ".join(described(each) for each in list(example)[:4])
        more = ", ..." if len(example) > 4 else ""
        return f"({inner}{more})" if isinstance(example, tuple) else f"[{inner}{more}]"
    if hasattr(example, "shape") and hasattr(example, "dtype"):
        dtype = str(example.dtype).removeprefix("torch.")
        return f"{dtype}{list(example.shape)}"
    plain = example is None or isinstance(example, bool | int | float)
    return repr(example) if plain else f"something of type {type(example).__name__}"


def _tensors(args: Any, kwargs: Any, double: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Numpy arrays become tensors at any depth, float64 float32 unless the module has it."""

    def tensor(leaf: Any) -> Any:
        known = type(leaf).__module__ == "numpy" and getattr(leaf, "ndim", 0) > 0
        if known and leaf.dtype.kind in "fiubc":
            leaf = torch.from_numpy(_as_torch_takes_it(leaf))
        if isinstance(leaf, torch.Tensor) and leaf.dtype is torch.float64 and not double:
            return leaf.float()
        return leaf

    made = pytree.tree_map(tensor, (tuple(args), {str(k): v for k, v in kwargs.items()}))
    return made[0], made[1]


def _holds_double(args: Any, kwargs: Any) -> bool:
    """Whether a tensor is double, which torch makes of nobody's numbers unasked (numpy does)."""
    tensors = [each for each in pytree.tree_leaves((args, kwargs)) if torch.is_tensor(each)]
    return any(each.dtype is torch.float64 for each in tensors)


def _as_torch_takes_it(array: Any) -> Any:
    """Copied if it is read-only, has a negative stride, or another byte order than the machine."""
    plain = array.flags.writeable and min(array.strides) >= 0 and array.dtype.isnative
    return array if plain else np.array(array, array.dtype.newbyteorder("="), order="C")


def example_of(exported: torch.export.ExportedProgram) -> Call:
    """The call that an ExportedProgram was captured with (empty if it kept none)."""
    args, kwargs = exported.example_inputs or ((), {})
    return Call(tuple(args), dict(kwargs))
