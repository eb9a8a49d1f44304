"""`load`: the one door for source models."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from qcompiler.errors import ConfigurationError
from qcompiler.frontends.onnx_file import program_from_ir, program_from_path, program_from_proto
from qcompiler.ir.collector import rare_collections
from qcompiler.ir.program import Program

Dynamic = bool | Mapping[str, Any] | tuple[Any, ...] | None


@rare_collections()
def load(
    model: object,
    example_inputs: Any = None,
    *,
    dynamic: Dynamic = None,
    surplus: bool = False,
    others: Sequence[Any] = (),
) -> Program:
    """Brings a model of any supported kind into the IR. The source is never changed.

    Args:
        model: A path, `onnx.ModelProto`, `onnx_ir.Model`, `Program` (cloned),
            `torch.nn.Module`, `torch.fx.GraphModule` or `torch.export.ExportedProgram`.
        example_inputs: For torch modules: one call's arguments; a tensor, a tuple of positional
            arguments (its last entry may be a dict of keyword arguments) or a dict of keyword
            arguments; nested as `forward` takes them.
        dynamic: For torch modules: which dimensions stay symbolic. None keeps dimension 0 of every
            tensor symbolic and falls back to fixed shapes if the model specialises it; True
            insists; False fixes all; a dict or tuple is `dynamic_shapes` of `torch.export.export`,
            in which a name stands for a `Dim`: `{"x": {0: "batch", 2: "height"}}`.
        surplus: For torch modules: the example is a calibration feed, which may hold more entries
            than `forward` takes, such as labels.
        others: For torch modules: further feeds; a dimension in which they differ from the example
            stays symbolic, unless `dynamic` says otherwise.

    Raises:
        UnreadableModelError: The file or graph cannot be read.
        UnsupportedOpsetError: Its opset has no way to the working one.
        FeedError: The torch module itself cannot run the example.
        ExportError: PyTorch could not capture the module; names the user's file and line.
        ConfigurationError: `model` is none of these, a module came without example inputs, or
            `dynamic` with something that is no module.
    """
    if dynamic is not None and isinstance(model, str | Path | Program | onnx.ModelProto | ir.Model):
        raise ConfigurationError(
            "dynamic is for torch modules",
            why="which dimensions of an ONNX model are open stands in the model",
            fix="leave it out, or rename the dimensions of the model's inputs",
        )
    match model:
        case str() | Path():
            return program_from_path(Path(model))
        case Program():
            return model.clone()
        case onnx.ModelProto():
            return program_from_proto(model)
        case ir.Model():
            return program_from_ir(model)
    if "torch" in sys.modules:
        from qcompiler.frontends import torch_module

        if torch_module.accepts(model):
            return torch_module.program_from_torch(model, example_inputs, dynamic, surplus, others)
    raise ConfigurationError(
        f"cannot take {_told(model)}",
        fix=_mended(model)
        or "give a path, onnx.ModelProto, onnx_ir.Model, torch.nn.Module, fx.GraphModule, "
        "ExportedProgram or Program",
    )


def _told(model: object) -> str:
    if isinstance(model, type):
        return f"the class {model.__name__} for a model"
    return f"a model of type {type(model).__name__}"


def _mended(model: object) -> str | None:
    """What was likely meant."""
    if isinstance(model, type):
        return f"give an instance with its weights, such as {model.__name__}()"
    if isinstance(model, Mapping):
        return "weights alone are no model: module.load_state_dict(...), and give the module"
    if isinstance(model, bytes | bytearray):
        return "give the file's path, or onnx.load_model_from_string(...)"
    meant = _MEANT.get(type(model).__name__)
    if meant is None and callable(model):
        return "give the torch.nn.Module itself; compile calls it in evaluation mode"
    return meant


_MEANT: Mapping[str, str] = {
    "Compiled": "it is compiled already: give the model that it was made of",
    "GraphProto": "give the whole model: onnx.helper.make_model(graph)",
    "InferenceSession": "give the path or the onnx.ModelProto that the session was made of",
    "BytesIO": "give the file's path, or onnx.load_model_from_string(file.read())",
    "BufferedReader": "give the file's path, not the open file",
    "list": "the model comes first: compile(model, calibration=feeds)",
}
"""By the name of a type: what was likely meant."""
