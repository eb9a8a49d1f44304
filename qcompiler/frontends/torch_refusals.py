"""What is said of a feed that is no call of a torch module, or that the module cannot run."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from qcompiler.errors import ConfigurationError, FeedError, first_line
from qcompiler.frontends.torch_call import Call, binds, failure, tensors_of
from qcompiler.frontends.torch_hints import hint_of, shape_of
from qcompiler.frontends.torch_origin import user_line
from qcompiler.ir.signature import spellings
from qcompiler.ir.surplus import look_alike

_ANY = "feed what the module's own call takes"
_ENTRIES = 4
"""Entries of a feed that are tried by themselves."""
_DEEP = 1
"""Levels of nesting that are shown."""


def misfit(
    module: torch.nn.Module, signature: inspect.Signature, example: Any, what: str
) -> Exception:
    """The example is no call of `forward`; `what` the example is."""
    missing = isinstance(example, Mapping) and set(example) <= set(signature.parameters)
    hint = None if missing else _by_another(module, example) or hint_of(module, example)
    return ConfigurationError(
        f"{what} do{'' if what.endswith('s') else 'es'} not fit "
        f"{type(module).__name__}.forward{signature}",
        where=described(example),
        why=_binding_error(signature, example),
        fix=hint or _ANY,
    )


def refused(
    module: torch.nn.Module,
    example: Any,
    shorter: list[Call],
    failures: list[Exception],
    what: str,
) -> Exception:
    """The example is a call, which the module cannot run; `what` the example is."""
    runs = next((call.surplus for call in shorter if failure(module, call) is None), None)
    if runs is not None and runs.trailing:
        few = f"it runs with the first {runs.kept} of {len(example)} entries"
        fix = f"{few}: feed those alone if the others are labels"
    else:
        fix = _by_another(module, example) or hint_of(module, example) or _ANY
    line = user_line(failures[0])
    return FeedError(
        f"{type(module).__name__} itself cannot run {what}",
        where=described(example) + (f", at {line}" if line else ""),
        why=f"{type(failures[0]).__name__}: {first_line(failures[0])}",
        fix=fix,
    )


def _by_another(module: torch.nn.Module, example: Any) -> str | None:
    """Where one entry that is not the first is what the module takes: `(label, image)`."""
    if not isinstance(example, list | tuple) or look_alike(example[:1], example[1:]):
        return None
    signature = inspect.signature(module.forward)
    for number, entry in list(enumerate(example[:_ENTRIES]))[1:]:
        for args, kwargs in spellings(entry):
            call = Call(*tensors_of(args, kwargs, False), signature)
            if binds(signature, args, kwargs) and failure(module, call) is None:
                return (
                    f"it runs with entry {number} alone (counted from 0): if the others are "
                    f"labels or numbers, give calibration=(feed[{number}] for feed in loader)"
                )
    return None


def _binding_error(signature: inspect.Signature, example: Any) -> str:
    args, kwargs = next(iter(spellings(example)))
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        return str(error)
    return "no way to read it fits"


def described(example: Any, depth: int = 0) -> str:
    """A feed in few words: its nesting, dtypes and shapes."""
    if isinstance(example, Mapping):
        named = (f"{key}: {described(each, depth + 1)}" for key, each in example.items())
        return "{" + ", ".join(named) + "}"
    if isinstance(example, list | tuple) and not hasattr(example, "_fields"):
        if depth > _DEEP:
            return f"a {type(example).__name__} of {len(example)}"
        inner = ", ".join(described(each, depth + 1) for each in list(example)[:4])
        more = ", ..." if len(example) > 4 else ""
        return f"({inner}{more})" if isinstance(example, tuple) else f"[{inner}{more}]"
    if hasattr(example, "dtype"):
        dtype = str(example.dtype).removeprefix("torch.")
        shape = shape_of(example)
        return f"{dtype}{'' if shape is None else list(shape)}"
    plain = example is None or isinstance(example, bool | int | float)
    return repr(example) if plain else f"something of type {type(example).__name__}"
