"""Failures of capture and translation as errors that name the operator, the line and the module."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from typing import Any

import torch

from qcompiler.errors import ConfigurationError, ExportError, first_line
from qcompiler.frontends.torch_origin import module_of_node, user_frame, user_line

_TRANSLATION = (
    "write the operation with others, or export the model to ONNX yourself and give the file "
    "(torch.onnx.export takes a custom_translation_table)"
)
_READ_THEM = ("dynamic_shapes.py", "non_strict_utils.py")
"""Files of torch.export that read `dynamic_shapes`."""
_TRIED = "2.10"
"""Version of torch from which its exporter was tried; that of 2.6 fails on BatchNormalization."""
_CAPTURE = (
    "write a condition on tensor values with torch.cond or torch.where, give other "
    "example inputs, or export the model to ONNX yourself and give the file"
)
_DYNAMIC = (
    "name arguments and axes of forward, such as dynamic={'x': {0: 'batch', 2: 'height'}} (or what "
    "dynamic_shapes of torch.export.export takes), or leave it out: axes in which feeds differ are "
    "open by themselves"
)


def translation_error(error: Exception) -> ExportError:
    """What PyTorch's ONNX translation stumbled over."""
    node = failing_node(error)
    operator = "" if node is None else f" at {_name(node.target)}"
    return ExportError(
        f"PyTorch's ONNX translation failed{operator}",
        where=user_line(error) if node is None else place_of(node),
        why=_root_cause(error),
        fix=_TRANSLATION if torch.__version__ >= _TRIED else f"take a newer torch, {_TRANSLATION}",
    )


def capture_error(
    module: torch.nn.Module, error: Exception, dynamic: Any = None
) -> ExportError | ConfigurationError:
    """What torch.export stumbled over; what the user said of dimensions may be to blame."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if dynamic not in (None, True, False) and _is_of_shapes(error):
        return ConfigurationError(
            f"{type(module).__name__} cannot be captured with dynamic={dynamic!r}"[:300],
            where="argument 'dynamic'",
            why=" ".join(lines[:4])[:400],
            fix=_DYNAMIC,
        )
    return ExportError(
        f"torch.export could not capture {type(module).__name__}",
        where=_joined(user_line(error), _failing_module(module, error)),
        why=f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__,
        fix=_CAPTURE,
    )


def _is_of_shapes(error: Exception) -> bool:
    """Whether `dynamic_shapes` has another structure than the inputs, or asks what cannot be."""
    raised = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1:]
    if any(frame.f_code.co_filename.endswith(_READ_THEM) for frame in raised):
        return True
    told = str(error).lower()
    return any(each in told for each in ("dynamic_shape", "dynamic shape", "constraints violated"))


def place_of(node: torch.fx.Node) -> str | None:
    """`file:line` of the user's code and the module path, whichever are known."""
    return _joined(user_frame(node.meta.get("stack_trace") or ""), module_of_node(node))


def home_of(model: object) -> str:
    """Where a module is written: for failures inside it that no line of the user's is behind."""
    kind = type(model)
    code = getattr(inspect.unwrap(getattr(kind, "forward", kind)), "__code__", None)
    line = "" if code is None else f'File "{code.co_filename}", line {code.co_firstlineno}'
    return user_frame(line) or f"the module itself, a {kind.__name__}"


def _joined(line: str | None, module: str | None) -> str | None:
    if line and module:
        return f"{line}, module '{module}'"
    return line or module


def failing_node(error: BaseException) -> torch.fx.Node | None:
    """The graph node that was worked on: the innermost one in the frames of the failure.

    The exporter's errors carry it in their text only, and its name is one of a decomposed graph
    that nobody outside can see.
    """
    found = None
    for each in _chain(error):
        for frame, _ in traceback.walk_tb(each.__traceback__):
            for value in frame.f_locals.values():
                if isinstance(value, torch.fx.Node) and value.op == "call_function":
                    found = value
        if found is not None:
            return found
    return None


def _failing_module(root: torch.nn.Module, error: BaseException) -> str | None:
    """Path of the innermost module whose code was running."""
    paths = {id(part): path for path, part in root.named_modules()}
    found = None
    for each in _chain(error):
        for frame, _ in traceback.walk_tb(each.__traceback__):
            owner = frame.f_locals.get("self")
            if isinstance(owner, torch.nn.Module):
                found = paths.get(id(owner)) or found
    return found


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, each once."""
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        current = pending.pop(0)
        if current is not None and id(current) not in seen:
            seen.add(id(current))
            yield current
            pending += [current.__cause__, current.__context__]


def _name(target: Any) -> str:
    return (
        str(target)
        if isinstance(target, torch._ops.OpOverload)
        else getattr(target, "__name__", str(target))
    )


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)
