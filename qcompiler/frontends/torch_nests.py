"""Nests of arguments and results: holding a value against the captured one, and nests as JSON.

`torch.utils._pytree` writes no NamedTuple and no dataclass unless it was registered under a name.
Here a class is written as `module:qualified name`, and found again if its module is loaded already;
nothing is ever imported for a file. Otherwise a stand-in with the same fields takes its place.
"""

from __future__ import annotations

import collections
import dataclasses
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree

from qcompiler.errors import ArtifactError, FeedError
from qcompiler.frontends.torch_trees import children, leaf

_PLAIN: Mapping[str, Any] = {
    "tuple": tuple,
    "list": list,
    "dict": dict,
    "OrderedDict": collections.OrderedDict,
    "Size": torch.Size,
}
_SEQUENCES = (tuple, list, torch.Size)
_KEYED = (dict, collections.OrderedDict, collections.defaultdict)


class UnstorableError(Exception):
    """A container that no file can hold; the text names its type."""


def leaves(value: Any, spec: pytree.TreeSpec, path: str) -> Iterator[tuple[str, Any]]:
    """Path and value of every leaf, in the order of `spec`.

    Dicts may come in another order and as another kind of mapping, lists for tuples.

    Raises:
        FeedError: The value is nested otherwise; names the place.
    """
    parts, own = pytree.tree_flatten(value, is_leaf=lambda each: each is not value)
    if spec.is_leaf() and own.is_leaf():
        yield path, value
        return
    if spec.is_leaf() or own.is_leaf():
        raise _otherwise(path, own, spec, value)
    if spec.type in _KEYED and own.type in _KEYED:
        yield from _by_key(value, spec, path)
        return
    alike = spec.type in _SEQUENCES and own.type in _SEQUENCES
    if (not alike and not _same_class(own, spec)) or len(parts) != spec.num_children:
        raise _otherwise(path, own, spec, value)
    for name, part, child in zip(_names(spec), parts, children(spec), strict=True):
        yield from leaves(part, child, path + name)


def _by_key(
    value: Mapping[Any, Any], spec: pytree.TreeSpec, path: str
) -> Iterator[tuple[str, Any]]:
    keys = _keys(spec)
    missing = [key for key in keys if key not in value]
    unknown = [key for key in value if key not in keys]
    if missing or unknown:
        parts = [f"missing {', '.join(map(repr, missing))}"] if missing else []
        parts += [f"unknown {', '.join(map(repr, unknown))}"] if unknown else []
        raise FeedError(
            f"the dict '{path}' has other keys than when it was captured: {'; '.join(parts)}",
            where=f"argument '{path}'",
            fix=f"give a dict with the keys {', '.join(map(repr, keys))}",
        )
    for key, child in zip(keys, children(spec), strict=True):
        yield from leaves(value[key], child, f"{path}[{key!r}]")


def _keys(spec: pytree.TreeSpec) -> list[Any]:
    """Keys of a mapping's spec."""
    context = spec.context
    return list(context[1]) if spec.type is collections.defaultdict else list(context)


def _names(spec: pytree.TreeSpec) -> list[str]:
    """How the children of a container are written."""
    if _is_named(spec):
        return [f".{name}" for name in spec.context._fields]
    if _is_dataclass(spec):
        return [f".{name}" for name in spec.context[0]]
    return [f"[{index}]" for index in range(spec.num_children)]


def _same_class(own: pytree.TreeSpec, spec: pytree.TreeSpec) -> bool:
    if own.type == spec.type and own.context == spec.context:
        return True
    both = _is_named(own) and _is_named(spec)  # a stand-in, whose class was loaded since
    return both and own.context._fields == spec.context._fields


def _is_named(spec: pytree.TreeSpec) -> bool:
    return isinstance(spec.context, type) and hasattr(spec.context, "_fields")


def _is_dataclass(spec: pytree.TreeSpec) -> bool:
    context = spec.context
    return (
        dataclasses.is_dataclass(spec.type)
        and isinstance(context, list | tuple)
        and len(context) == 2
        and all(isinstance(part, list | tuple) for part in context)
    )


def _otherwise(path: str, own: pytree.TreeSpec, spec: pytree.TreeSpec, value: Any) -> FeedError:
    return FeedError(
        f"the argument '{path}' is not nested like when it was captured",
        where=f"argument '{path}'",
        why=f"it was {_described(spec)}, it is "
        + (type(value).__name__ if own.is_leaf() else _described(own)),
        fix="give it in the form that calibration had",
    )


def _described(spec: pytree.TreeSpec) -> str:
    if spec.is_leaf():
        return "no nest"
    kind = spec.context if _is_named(spec) else spec.type
    name = getattr(kind, "__name__", str(kind))
    if spec.type in _KEYED:
        return f"{name} with keys {', '.join(map(repr, _keys(spec)))}"
    if _is_dataclass(spec):
        return f"{name}({', '.join(map(str, spec.context[0]))})"
    return f"{name} of {spec.num_children}"


def dump_nest(spec: pytree.TreeSpec) -> Any:
    """The nest as plain JSON data.

    Raises:
        UnstorableError: It holds a container that cannot be written down.
    """
    if spec.is_leaf():
        return None
    parts = [dump_nest(child) for child in children(spec)]
    for name, kind in _PLAIN.items():
        if spec.type is kind:
            keys = spec.context
            if any(not isinstance(key, str | int) for key in keys or ()):
                raise UnstorableError(f"a dict with keys {keys}")
            return {"kind": name, "keys": keys and list(keys), "parts": parts}
    if _is_named(spec):
        fields = list(spec.context._fields)
        return {**_by_class("namedtuple", spec.context), "fields": fields, "parts": parts}
    if _is_dataclass(spec):
        fields = [list(part) for part in spec.context]
        return {**_by_class("dataclass", spec.type), "fields": fields, "parts": parts}
    return {"kind": "registered", "spec": _registered(spec), "parts": parts}


def _by_class(kind: str, own: type) -> dict[str, str]:
    return {"kind": kind, "class": f"{own.__module__}:{own.__qualname__}"}


def _registered(spec: pytree.TreeSpec) -> str:
    """One level of a container that torch knows by a serialized name."""
    hollow: list[pytree.TreeSpec] = [leaf() for _ in children(spec)]
    try:
        return pytree.treespec_dumps(pytree.TreeSpec(spec.type, spec.context, hollow))
    except (NotImplementedError, TypeError, ValueError) as error:
        raise UnstorableError(getattr(spec.type, "__qualname__", str(spec.type))) from error


def parse_nest(data: Any, stand_ins: list[str]) -> pytree.TreeSpec:
    """Reads what `dump_nest` wrote; classes that are not loaded are added to `stand_ins`.

    Raises:
        ArtifactError: It is nothing that `dump_nest` writes.
    """
    if data is None:
        return leaf()
    try:
        parts = [parse_nest(part, stand_ins) for part in data["parts"]]
        kind, context = _container(data, stand_ins)
    except (KeyError, TypeError, ValueError, NotImplementedError) as error:
        raise ArtifactError(
            "the calling convention cannot be read", why=str(error), fix="save the artifact again"
        ) from error
    return pytree.TreeSpec(kind, context, parts)


def _container(data: Mapping[str, Any], stand_ins: list[str]) -> tuple[Any, Any]:
    """Type and context of one level."""
    if data["kind"] in _PLAIN:
        return _PLAIN[data["kind"]], data["keys"]
    if data["kind"] == "namedtuple":
        fields = [str(name) for name in data["fields"]]
        found = _loaded(data["class"])
        if not _is_tuple_class(found, fields):
            stand_ins.append(data["class"])
            found = _stand_in(data["class"], fields)
        return pytree.tree_structure(found(*fields)).type, found
    if data["kind"] == "dataclass":
        fed, empty = ([str(name) for name in part] for part in data["fields"])
        found = _loaded(data["class"])
        if not _is_data_class(found, [*fed, *empty]):
            stand_ins.append(data["class"])
            found = dataclasses.make_dataclass(_last(data["class"]), [*fed, *empty])
        if found not in pytree.SUPPORTED_NODES:
            torch.export.register_dataclass(found)
        return found, [fed, empty]
    one = pytree.treespec_loads(data["spec"])
    return one.type, one.context


def _stand_in(address: str, fields: list[str]) -> Any:
    make: Any = collections.namedtuple
    return make(_last(address), fields)


def _last(address: str) -> str:
    return address.rpartition(":")[2].rpartition(".")[2]


def _loaded(address: str) -> Any:
    """The class of this address if its module is loaded; None otherwise."""
    module, _, qualified = address.partition(":")
    found: Any = sys.modules.get(module)
    for name in qualified.split("."):
        found = getattr(found, name, None)
    return found


def _is_tuple_class(found: Any, fields: list[str]) -> bool:
    return isinstance(found, type) and list(getattr(found, "_fields", ())) == fields


def _is_data_class(found: Any, fields: list[str]) -> bool:
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        return False
    return set(fields) <= {each.name for each in dataclasses.fields(found)}
