"""TorchScript modules, traced or scripted, as modules that torch.export takes.

torch converts their graphs to ExportedPrograms (torch/_export/converter.py). What comes out is
compared with the TorchScript module itself, like every source.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from qcompiler.errors import ExportError, first_line
from qcompiler.frontends.torch_arguments import example_call
from qcompiler.frontends.torch_call import Call

_KINDS = inspect.Parameter.POSITIONAL_OR_KEYWORD


def is_script(model: object) -> bool:
    """Whether it is a module of TorchScript."""
    return isinstance(model, torch.jit.ScriptModule)


def unscripted(
    model: torch.jit.ScriptModule, example_inputs: Any, surplus: bool
) -> tuple[torch.nn.Module, Call]:
    """A plain module that computes the same, and the example as its call.

    Args:
        model: In evaluation mode.
        example_inputs: See `example_call`.
        surplus: See `example_call`.

    Raises:
        ExportError: torch cannot convert it.
        ConfigurationError, FeedError: See `example_call`.
    """
    signature = _signature(model)
    frozen = next(model.parameters(), None) is None
    asked = _named(model, signature)
    if frozen:
        _show_constants(asked, model)
    call = example_call(asked, example_inputs, surplus)
    bound = signature.bind(*call.args, **call.kwargs)
    bound.apply_defaults()
    try:
        from torch._export.converter import TS2EPConverter

        exported = TS2EPConverter(model, bound.args).convert()
        plain: torch.nn.Module = exported.module()
        if frozen:
            _thaw(plain)
        returns = _schema(model).returns[0].type.kind()
    except Exception as error:
        raise ExportError(
            "torch cannot convert this ScriptModule",
            where=f"{type(model).__name__} of {model.original_name}",
            why=f"{type(error).__name__}: {first_line(error)}",
            fix="give the nn.Module that it was made from, or the file that "
            "torch.onnx.export(module, inputs, path, dynamo=False) writes",
        ) from error
    return _named(plain, signature, tupled=returns == "TupleType"), call


def _show_constants(asked: torch.nn.Module, model: torch.jit.ScriptModule) -> None:
    """Lists weights that are constants of the graph as parameters, for whoever asks their type.

    Numbers (no axes) say nothing of it: a traced `2 * x` holds a double.
    """
    graph: Any = model.inlined_graph
    for node in graph.findAllNodes("prim::Constant"):
        is_tensor = node.hasAttribute("value") and node.kindOf("value") == "t"
        if is_tensor and node.t("value").ndim:
            name = f"constant_{node.output().unique()}"
            asked.register_parameter(name, torch.nn.Parameter(node.t("value"), requires_grad=False))


def _thaw(plain: torch.nn.Module) -> None:
    """Makes parameters again of frozen weights, which are attributes of no kind when converted."""
    for part in plain.modules():
        held = {name: each for name, each in vars(part).items() if isinstance(each, torch.Tensor)}
        for name, weight in held.items():
            if weight.ndim:
                delattr(part, name)
                part.register_parameter(name, torch.nn.Parameter(weight, requires_grad=False))


def _named(
    inner: torch.nn.Module, signature: inspect.Signature, tupled: bool = False
) -> torch.nn.Module:
    """A module whose `forward` has the names of TorchScript's schema; copies call their own inner.

    Args:
        inner: What it calls.
        signature: Of TorchScript's `forward`.
        tupled: Whether the inner module returns a list for a tuple, as converted ones do.
    """

    def forward(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        result = self.get_submodule("inner")(*bound.args)
        return tuple(result) if tupled else result

    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    shown = [itself, *signature.parameters.values()]
    forward.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    made: torch.nn.Module = type("Script", (torch.nn.Module,), {"forward": forward})()
    made.add_module("inner", inner)
    for part in made.modules():
        part.training = False  # train() is not for what torch converted
    return made


def _signature(model: torch.jit.ScriptModule) -> inspect.Signature:
    """Of `forward`, by TorchScript's schema, whose first argument is the module."""
    parameters = [
        inspect.Parameter(
            each.name,
            _KINDS,
            default=each.default_value if each.has_default_value() else inspect.Parameter.empty,
        )
        for each in _schema(model).arguments[1:]
    ]
    return inspect.Signature(parameters)


def _schema(model: torch.jit.ScriptModule) -> Any:
    forward: Any = model.forward
    return forward.schema
