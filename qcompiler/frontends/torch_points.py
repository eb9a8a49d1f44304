"""Points that a torch module carries by hand: stubs, fake-quantize modules, modules kept float.

Classes go by their names, so those of other packages are understood without importing them. While
a module is captured, its stubs leave marks, and its fake-quantize modules compute with the scales
that they hold.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn

from qcompiler.errors import ExportError
from qcompiler.frontends.torch_marks import OPERATOR, Mark, mark_of
from qcompiler.ir.origin import leave_float, module_path

KEPT_FLOAT = "_qcompiler_keeps_float"
_STUBS = {"QuantStub": Mark.BEGIN, "DeQuantStub": Mark.END}
_RATIO = 0.5
"""A Dropout has to have one; this one is never run."""


def is_point(module: nn.Module) -> bool:
    """Whether a module is a stub, an observer or a fake-quantize module, by its class's name."""
    name = type(module).__name__
    watches = name.endswith("Observer") and not list(module.children())
    return name in _STUBS or watches or _is_fake_quantize(module)


def _is_fake_quantize(module: nn.Module) -> bool:
    return "FakeQuant" in type(module).__name__ and hasattr(module, "scale")


@contextlib.contextmanager
def points_marked(model: Any) -> Iterator[None]:
    """Where stubs leave marks, observers do nothing, and fake quantization is what it holds.

    Raises:
        ExportError: A fake-quantize module that has no 8-bit integers.
    """
    changed = []
    parts = model.named_modules() if isinstance(model, nn.Module) else ()
    try:
        for path, part in parts:
            if is_point(part):
                part.__dict__["forward"] = _form_of(path, part)
                changed.append(part)
        yield
    finally:
        for part in changed:
            part.__dict__.pop("forward", None)


def _form_of(path: str, part: nn.Module) -> Callable[[Tensor], Tensor]:
    name = type(part).__name__
    if name in _STUBS:
        return partial(OPERATOR, seed=int(_STUBS[name]), ratio=_RATIO)
    if _is_fake_quantize(part):
        return _fake_quantize(path, part)
    return lambda x: x


def _fake_quantize(path: str, part: Any) -> Callable[[Tensor], Tensor]:
    """What the module computes with its present scale and zero point."""
    enabled = getattr(part, "fake_quant_enabled", None)
    if enabled is not None and not int(enabled.reshape(-1)[0]):
        return lambda x: x
    holder = part if hasattr(part, "quant_min") else part.activation_post_process
    low, high = int(holder.quant_min), int(holder.quant_max)
    if low < -128 or high > 255 or (low < 0 and high > 127):
        raise ExportError(
            f"the fake quantization of '{path}' has {high - low + 1} levels",
            where=path,
            fix="8 bits and less are read",
        )
    scale = part.scale.detach().float().reshape(-1)
    zero = part.zero_point.detach().reshape(-1).to(torch.int32)
    full = (-128, 127) if low < 0 else (0, 255)
    # Kernels that sum in 16 bits use half the levels; nothing is lost by the others.
    cut = (low, high) not in (full, (0, 127))
    if scale.numel() == 1:
        step, point = float(scale), int(zero)
        ends = step * (low - point), step * (high - point)

        def of_tensor(x: Tensor) -> Tensor:
            given = x.clamp(*ends) if cut else x
            return torch.fake_quantize_per_tensor_affine(given, step, point, *full)

        return of_tensor
    axis = int(getattr(part, "ch_axis", 0))

    def of_channels(x: Tensor) -> Tensor:
        if cut:
            shape = (-1,) + (1,) * (x.dim() - axis - 1)
            ends = [(scale * (end - zero)).reshape(shape) for end in (low, high)]
            x = torch.maximum(torch.minimum(x, ends[1]), ends[0])
        return torch.fake_quantize_per_channel_affine(x, scale, zero, axis, *full)

    return of_channels


def float_paths(model: Any) -> tuple[str, ...]:
    """Paths of modules that are kept float."""
    parts = model.named_modules() if isinstance(model, nn.Module) else ()
    return tuple(path for path, part in parts if getattr(part, KEPT_FLOAT, False))


def apply_points(model: ir.Model, paths: Sequence[str]) -> None:
    """Marks the nodes that stay float, and takes the marks of stubs out, in place.

    Args:
        model: As it was translated, with origins.
        paths: Modules that are kept float; an empty path is the whole.
    """
    for node in model.graph:
        path = module_path(node) or ""
        if any(each in ("", path) or path.startswith(f"{each}.") for each in paths):
            leave_float(node)
    points = [node for node in model.graph if mark_of(node) in _STUBS.values()]
    if points:
        _mark_outside(model.graph)
    for node in points:
        given, result = node.inputs[0], node.outputs[0]
        assert given is not None
        if result.is_graph_output():
            _pass_on(model.graph, node, given)
            continue
        for use in list(result.uses()):
            use.node.replace_input_with(use.idx, given)
        model.graph.remove(node, safe=True)


def _pass_on(graph: ir.Graph, node: ir.Node, given: ir.Value) -> None:
    """A mark in front of an output becomes a copy, which canonicalization takes out."""
    result = node.outputs[0]
    new = ir.Value(type=result.type, shape=result.shape)
    graph.insert_before(node, ir.Node("", "Identity", [given], outputs=[new]))
    for use in list(result.uses()):
        use.node.replace_input_with(use.idx, new)
    for index, output in enumerate(list(graph.outputs)):
        if output is result:
            graph.outputs[index] = new
    name = result.name
    graph.remove(node, safe=True)
    new.name = name


def _mark_outside(graph: ir.Graph) -> None:
    """Float is what reads a float value that no stub has let in; constants are neither."""
    inside: dict[ir.Value, bool] = dict.fromkeys(graph.inputs, False)
    for node in graph:
        mark = mark_of(node)
        known = [inside[each] for each in node.inputs if each in inside]
        state = all(known) if known else None
        if mark in _STUBS.values():
            state = mark is Mark.BEGIN
        elif state is False:
            leave_float(node)
        if state is not None:
            inside.update(dict.fromkeys(node.outputs, state))
