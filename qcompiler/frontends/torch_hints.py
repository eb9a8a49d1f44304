"""What is likely wrong with a feed that a torch module cannot run: one sentence, or nothing."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree

_CONVOLUTIONS: Mapping[type, int] = {
    torch.nn.Conv1d: 1,
    torch.nn.Conv2d: 2,
    torch.nn.Conv3d: 3,
}


def hint_of(module: torch.nn.Module, example: Any) -> str | None:
    """How to mend the feed, by the first rule that sees something."""
    leaves = pytree.tree_leaves(example)
    rules: tuple[Callable[[], str | None], ...] = (
        lambda: _whole(module),
        lambda: next(filter(None, map(_kind, leaves)), None),
        lambda: _names(module, example),
        lambda: next(filter(None, (_layout(module, leaf) for leaf in leaves)), None),
        lambda: next(filter(None, (_dtype(module, leaf) for leaf in leaves)), None),
        lambda: _listed(module, example),
    )
    return next((found for rule in rules if (found := rule())), None)


def _whole(module: torch.nn.Module) -> str | None:
    """Modules that no feed fits."""
    if isinstance(module, torch.nn.DataParallel):
        return "give what it wraps: model.module"
    if any(each.is_meta for each in module.parameters()):
        return "the module has no weights (device meta): load them before it is compiled"
    return None


def _kind(leaf: Any) -> str | None:
    """Leaves that are no numbers."""
    origin = type(leaf).__module__
    if isinstance(leaf, str | bytes) or hasattr(leaf, "__fspath__"):
        return f"{leaf!r} is no tensor: load the file it names, and prepare it as in training"
    if origin.startswith("PIL."):
        return (
            "this is a PIL image: make a tensor of it as in training, such as with "
            "torchvision.transforms.ToTensor(), and give it a batch axis with x[None]"
        )
    if origin == "numpy" and getattr(leaf, "dtype", None) is not None and leaf.dtype.kind in "OUS":
        return "this is an array of objects, as numpy makes of arrays of unequal shapes or strings"
    if origin == "numpy" and not getattr(leaf, "ndim", 1):
        return "this is a numpy scalar: feed an array with the axes of the model's input"
    if origin.startswith("numpy.ma"):
        return "this is a masked array: fill it, x.filled(0)"
    if hasattr(leaf, "__array__") and not isinstance(leaf, torch.Tensor) and origin != "numpy":
        name = type(leaf).__name__
        return f"this is a {name}: feed torch.as_tensor(numpy.asarray(x)) of it"
    return None


def _names(module: torch.nn.Module, example: Any) -> str | None:
    """A dict with names that `forward` does not have."""
    if not isinstance(example, Mapping):
        return None
    parameters = inspect.signature(module.forward).parameters
    unknown = [str(name) for name in example if name not in parameters]
    if not unknown:
        return None
    near = difflib.get_close_matches(unknown[0], parameters, 1)
    meant = f"did you mean '{near[0]}'? " if near else ""
    return f"{meant}forward takes {', '.join(parameters)}"


def _layout(module: torch.nn.Module, leaf: Any) -> str | None:
    """Axes in another order, too few or too many, by the first layer that tells how many."""
    shape = list(getattr(leaf, "shape", ()))
    layer = _first(module, (*_CONVOLUTIONS, torch.nn.Linear))
    if layer is None or not shape:
        return None
    if isinstance(layer, torch.nn.Linear):
        if shape[-1] == layer.in_features:
            return None
        wanted = layer.in_features
        return f"the first linear layer takes {wanted} features, the last axis has {shape[-1]}"
    spatial = _CONVOLUTIONS[type(layer)]
    channels = int(getattr(layer, "in_channels", 0))
    if len(shape) == spatial + 1:
        order = "its channels are last: x.permute(2, 0, 1); and " if _last(shape, channels) else ""
        return f"{order}the batch axis is missing: feed x[None], for one sample"
    if len(shape) != spatial + 2:
        return f"the first convolution takes {spatial + 2} axes, this has {len(shape)}"
    if shape[1] == channels:
        return None
    if shape[-1] == channels:
        axes = ", ".join(map(str, (0, spatial + 1, *range(1, spatial + 1))))
        return f"its channels are last: feed x.permute({axes}) (numpy: x.transpose({axes}))"
    return f"the first convolution takes {channels} channels, axis 1 has {shape[1]}"


def _last(shape: list[int], channels: int) -> bool:
    return len(shape) == 3 and shape[-1] == channels and shape[0] != channels


def _first(module: torch.nn.Module, kinds: tuple[type, ...]) -> torch.nn.Module | None:
    return next((each for each in module.modules() if type(each) in kinds), None)


def _dtype(module: torch.nn.Module, leaf: Any) -> str | None:
    """Integers for a module that starts with a product, or another float type than its weights."""
    name = str(getattr(leaf, "dtype", "")).removeprefix("torch.")
    wanted = next((each.dtype for each in module.parameters()), torch.float32)
    plain = str(wanted).removeprefix("torch.")
    if name == "uint8":
        return f"uint8 images: scale them as in training, such as x.to(torch.{plain}) / 255"
    if name.startswith(("int", "bool")) and _first(module, (torch.nn.Embedding,)) is None:
        return f"the module's weights are {plain}, the feed is {name}: convert it"
    if name.startswith(("float", "bfloat")) and name != plain:
        return f"the weights are {plain}, the feed is {name}: convert it with x.to(torch.{plain})"
    return None


def _listed(module: torch.nn.Module, example: Any) -> str | None:
    """Several samples in a list, where a batch was meant."""
    count = len(example) if isinstance(example, list) else 0
    if count > 1 and len({tuple(getattr(each, "shape", ())) for each in example}) == 1:
        return f"a list of {count} arrays is {count} arguments: stack them to one batch"
    return None
