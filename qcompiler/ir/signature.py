"""The calling convention of the source model: names, types and nesting of inputs and outputs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.errors import FeedError
from qcompiler.ir.sizes import SizeRule
from qcompiler.ir.surplus import Surplus

Array = npt.NDArray[Any]
Feed = dict[str, Array]
"""One call's inputs by name: arrays, lists of arrays (sequences) and None (omitted optionals)."""


@dataclass(frozen=True)
class TensorSpec:
    """Name, element type and shape of an input or output.

    `shape` is None when the rank is unknown; a dimension is an int, a symbol's name, or None.
    `container` is `sequence` for a list of such tensors, `optional` for one (or a list) that may be
    None, and empty for a tensor.
    """

    name: str
    dtype: ir.DataType | None
    shape: tuple[int | str | None, ...] | None
    container: str = ""

    def __str__(self) -> str:
        dims = "?" if self.shape is None else ", ".join(str(dim) for dim in self.shape)
        tensor = f"{self.dtype.name.lower() if self.dtype else '?'}[{dims}]"
        return f"{self.name}: {f'{self.container}({tensor})' if self.container else tensor}"


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs in order, and how nested arguments map to them.

    Attributes:
        inputs: One spec for every graph input.
        outputs: One spec for every graph output.
        flatten: (args, kwargs) -> leaves in the order of `inputs`; None for flat ONNX models.
        unflatten: Output arrays in order -> what the source returns; None for a flat list.
        convention: Both as text, for artifacts that are to keep them; None when they cannot be.
        rules: What the capture assumed of the sizes of inputs, each checked at every call. With a
            tuple, even an empty one, the symbols of the shapes hold too: a symbol has one size in
            all inputs, and a dimension such as `2*s0` follows. None for files, whose symbols are
            but names.
        surplus: What feeds hold beyond the inputs, such as labels, and is left out of each.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    flatten: Callable[[Sequence[Any], Mapping[str, Any]], Sequence[Any]] | None = None
    unflatten: Callable[[Sequence[Any]], Any] | None = None
    convention: str | None = None
    rules: tuple[SizeRule, ...] | None = None
    surplus: Surplus | None = None

    def __str__(self) -> str:
        inputs, outputs = (", ".join(map(str, each)) for each in (self.inputs, self.outputs))
        return f"({inputs}) → ({outputs})"

    def __repr__(self) -> str:
        return f"<Signature {self}>"

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.outputs)

    def returned(self, arrays: Sequence[Any], tensors: bool) -> Any:
        """What the source returns: its nest, or a list of outputs for a flat model.

        Args:
            arrays: Outputs in order.
            tensors: Make torch tensors of them.
        """
        outputs = [_tensor(each) for each in arrays] if tensors else list(arrays)
        return outputs if self.unflatten is None else self.unflatten(outputs)


def _tensor(array: Any) -> Any:
    import torch

    return torch.as_tensor(array)


def is_tensor(leaf: Any) -> bool:
    """Whether it is a torch tensor; torch itself is never imported for it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(leaf, torch.Tensor)


def as_array(leaf: Any, spec: TensorSpec) -> Array:
    """A numpy view of an array, a torch tensor (any device, detached) or a scalar.

    Raises:
        FeedError: It is nothing that numpy makes an array of numbers of; names the input.
    """
    if leaf is None:
        fix = "give an array; or leave it out of every feed, where the model can do without"
        raise _no_array(leaf, spec, "the model was loaded with an array there", fix)
    try:
        if hasattr(leaf, "detach"):
            leaf = leaf.detach().cpu()
            if str(leaf.dtype) == "torch.bfloat16":  # which numpy does not know; float32 holds it
                leaf = leaf.float()
        array = np.asarray(leaf)
    except Exception as error:  # `__array__` is whoever's code
        raise _no_array(leaf, spec, f"{type(error).__name__}: {error}") from error
    if isinstance(leaf, np.ma.MaskedArray) and np.ma.is_masked(leaf):
        raise _no_array(leaf, spec, "what is masked would be computed with", "fill it: x.filled(0)")
    if array.dtype == object and not all(isinstance(each, str) for each in array.flat):
        raise _no_array(leaf, spec, "numpy makes objects of it")
    return array


def arrays_of(feed: Feed) -> Iterator[tuple[str, Array]]:
    """Every array of a feed with the name of its input; those of a sequence one by one."""
    for name, leaf in feed.items():
        for array in leaf if isinstance(leaf, list) else (leaf,):
            if array is not None:
                yield name, array


def copied(feed: Feed) -> Feed:
    """The feed in arrays of its own."""
    return {
        name: [each.copy() for each in leaf]
        if isinstance(leaf, list)
        else (None if leaf is None else leaf.copy())
        for name, leaf in feed.items()
    }


def plain_arrays(feed: Feed) -> Iterator[tuple[str, Array]]:
    """The arrays of a feed that are an input of their own; an optional one may be absent."""
    return ((name, leaf) for name, leaf in feed.items() if isinstance(leaf, np.ndarray))


def content(array: Array) -> bytes:
    """Bytes that tell arrays of one type and shape apart; those of objects are addresses."""
    return _plain(array).tobytes()


def buffer(array: Array) -> memoryview:
    """The same bytes without a copy, where they are only looked at."""
    return _plain(array).reshape(-1).view(np.uint8).data


def _plain(array: Array) -> Array:
    return np.ascontiguousarray(array.astype(str) if array.dtype == object else array)


def _no_array(
    leaf: Any, spec: TensorSpec, why: str, fix: str = "feed numpy arrays, torch tensors or numbers"
) -> FeedError:
    return FeedError(
        f"a {type(leaf).__name__} was fed where an array is needed",
        where=f"input {spec}",
        why=why,
        fix=fix,
    )


def signature_of(model: ir.Model) -> Signature:
    """The flat signature of a model: names, types and shapes of the main graph's boundary."""
    graph = model.graph
    return Signature(
        tuple(_spec(value) for value in graph.inputs),
        tuple(_spec(value) for value in graph.outputs),
    )


def _spec(value: ir.Value) -> TensorSpec:
    container = _container(value.type)
    shape = None
    if value.shape is not None and not container:
        shape = tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)
    return TensorSpec(value.name or "", value.dtype, shape, container)


def _container(kind: ir.TypeProtocol | None) -> str:
    if isinstance(kind, ir.SequenceType):
        return "sequence"
    return "optional" if isinstance(kind, ir.OptionalType) else ""


def spellings(feed: Any) -> Iterator[tuple[tuple[Any, ...], Mapping[str, Any]]]:
    """The calls (args, kwargs) that a feed may stand for, the likeliest first."""
    if isinstance(feed, Mapping):
        yield (), {str(name): value for name, value in feed.items()}
    elif isinstance(feed, list | tuple):
        if len(feed) > 1 and isinstance(feed[-1], Mapping):
            yield tuple(feed[:-1]), {str(name): value for name, value in feed[-1].items()}
        yield tuple(feed), {}
    yield (feed,), {}
