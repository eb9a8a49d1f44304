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
_READ_FIRST = (*_CONVOLUTIONS, torch.nn.Linear, torch.nn.Embedding)
"""Layers that say what they take."""


def hint_of(module: torch.nn.Module, example: Any) -> str | None:
    """How to mend the feed, by the first rule that sees something."""
    leaves = pytree.tree_leaves(example)
    rules: tuple[Callable[[], str | None], ...] = (
        lambda: _whole(module),
        lambda: next(filter(None, map(_kind, leaves)), None),
        lambda: _listed(example),
        lambda: _names(module, example),
        lambda: _first(module, leaves[0]) if leaves else None,
        lambda: next(filter(None, (_dtype(module, leaf) for leaf in leaves)), None),
        lambda: _stacked(example),
    )
    return next((found for rule in rules if (found := rule())), None)


def shape_of(leaf: Any) -> tuple[int, ...] | None:
    """The shape of an array; None of what has none, or none that is known (a nested tensor)."""
    try:
        return tuple(leaf.shape)
    except (AttributeError, TypeError, RuntimeError):
        return None


def _whole(module: torch.nn.Module) -> str | None:
    """Modules that no feed fits."""
    if isinstance(module, torch.nn.DataParallel):
        return "give what it wraps: model.module"
    if any(each.is_meta for each in module.parameters()):
        return "the module has no weights (device meta): load them before it is compiled"
    return None


def _kind(leaf: Any) -> str | None:
    """Leaves that are no numbers, or in no plain array."""
    origin = type(leaf).__module__
    if isinstance(leaf, torch.Tensor):
        return _storage(leaf)
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
    if hasattr(leaf, "__array__") and origin != "numpy":
        name = type(leaf).__name__
        return f"this is a {name}: feed torch.as_tensor(numpy.asarray(x)) of it"
    if hasattr(leaf, "__dlpack__") and origin != "numpy":
        return f"this is a {type(leaf).__name__}: feed torch.from_dlpack(x) of it"
    return None


def _storage(leaf: torch.Tensor) -> str | None:
    """Tensors that are not stored as plain numbers."""
    if leaf.is_nested:
        return "this is a nested tensor: feed torch.nested.to_padded_tensor(x, 0.0) of it"
    if leaf.is_meta:
        return "the feed is on device meta and has no numbers: feed real data"
    if leaf.is_quantized:
        return "this is a quantized tensor: feed x.dequantize()"
    if leaf.layout is not torch.strided:
        return "this is a sparse tensor: feed x.to_dense()"
    return None


def _names(module: torch.nn.Module, example: Any) -> str | None:
    """A dict with names that `forward` does not have, alone or in front of labels."""
    if isinstance(example, list | tuple) and len(example) > 1:
        example = example[0]
    if not isinstance(example, Mapping):
        return None
    parameters = inspect.signature(module.forward).parameters
    unknown = [str(name) for name in example if name not in parameters]
    if not unknown:
        return None
    near = difflib.get_close_matches(unknown[0], parameters, 1)
    meant = f"did you mean '{near[0]}'? " if near else ""
    return f"{meant}forward takes {', '.join(parameters)}"


def _listed(example: Any) -> str | None:
    """Samples that no collate function has put together."""
    samples = example if isinstance(example, list) and len(example) > 1 else []
    kinds = {type(each) for each in samples}
    if len(kinds) == 1 and issubclass(kinds.pop(), tuple | dict):
        return (
            f"this is a list of {len(samples)} samples: "
            "make one batch of them with torch.utils.data.default_collate(feed)"
        )
    return None


def _stacked(example: Any) -> str | None:
    """Several samples in a list, where a batch was meant."""
    count = len(example) if isinstance(example, list) else 0
    if count > 1 and len({shape_of(each) for each in example}) == 1:
        return f"a list of {count} arrays is {count} arguments: stack them to one batch"
    return None


def _first(module: torch.nn.Module, leaf: Any) -> str | None:
    """The first array, by the first layer that says what it takes."""
    layer = _first_layer(module)
    if isinstance(layer, torch.nn.Embedding):
        return _indices(layer, leaf)
    return _layout(layer, leaf) if layer else None


def _first_layer(module: torch.nn.Module) -> torch.nn.Module | None:
    return next((each for each in module.modules() if type(each) in _READ_FIRST), None)


def _indices(layer: torch.nn.Embedding, leaf: Any) -> str | None:
    """Numbers that an embedding cannot look up."""
    if not shape_of(leaf) or 0 in (shape_of(leaf) or ()):
        return None
    numbers = torch.as_tensor(leaf)
    if numbers.is_floating_point() or numbers.dtype is torch.bool:
        return "the first layer is an embedding, which looks up whole numbers: feed x.long()"
    low, high, last = int(numbers.min()), int(numbers.max()), layer.num_embeddings - 1
    if low < 0 or high > last:
        return f"the embedding has rows 0 to {last}, the feed asks for {low} to {high}"
    return None


def _layout(layer: torch.nn.Module, leaf: Any) -> str | None:
    """Axes in another order, too few or too many."""
    shape = list(shape_of(leaf) or ())
    if not shape:
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


def _dtype(module: torch.nn.Module, leaf: Any) -> str | None:
    """Integers for a module that starts with a product, or another float type than its weights."""
    name = str(getattr(leaf, "dtype", "")).removeprefix("torch.")
    wanted = next((each.dtype for each in module.parameters()), torch.float32)
    plain = str(wanted).removeprefix("torch.")
    if name == "uint8":
        return f"uint8 images: scale them as in training, such as x.to(torch.{plain}) / 255"
    if name.startswith(("int", "bool")) and isinstance(_first_layer(module), torch.nn.Embedding):
        return None
    if name.startswith(("int", "bool", "complex")):
        return f"the module's weights are {plain}, the feed is {name}: convert it"
    if name.startswith(("float", "bfloat")) and name != plain:
        return f"the weights are {plain}, the feed is {name}: convert it with x.to(torch.{plain})"
    return None
