"""Guards of an ExportedProgram as code over its arguments (`L['x'].size()[0] >= 3`).

torch.export keeps them in files, where the symbolic conditions are lost (torch 2.9 and newer).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree


def guards_in_code(exported: torch.export.ExportedProgram) -> list[str]:
    """The guards with the symbols (or numbers) of sizes in the place of arguments' sizes."""
    code = [str(each) for each in getattr(exported, "_guards_code", None) or ()]
    if not code:
        return []
    sizes = dict(_sizes(exported))
    return [_with_symbols(text, sizes) for text in code]


def _with_symbols(text: str, sizes: dict[str, str]) -> str:
    """Each `L['x'].size()[0]` as its symbol; what is known by no name stays."""
    for place in sorted(sizes, key=len, reverse=True):
        text = text.replace(place, sizes[place])
    return text


def _sizes(exported: torch.export.ExportedProgram) -> Iterator[tuple[str, str]]:
    """(the size as guards write it, its symbol or number)."""
    values = {
        node.name: node.meta.get("val") for node in exported.graph.find_nodes(op="placeholder")
    }
    specs = [e for e in exported.graph_signature.input_specs if e.kind == InputKind.USER_INPUT]
    for spec, path in zip(specs, _paths(exported, len(specs)), strict=False):
        value = values.get(getattr(spec.arg, "name", ""))
        if isinstance(value, torch.Tensor):
            for axis, size in enumerate(value.shape):
                symbol = str(size)
                yield f"{path}.size()[{axis}]", symbol if symbol.isidentifier() else f"({symbol})"


def _paths(exported: torch.export.ExportedProgram, count: int) -> Iterator[str]:
    """How guards write each argument: by name of `forward`, then by key, index or attribute."""
    spec = exported.call_spec.in_spec
    if spec is None:
        return
    nest = pytree.tree_unflatten([0] * count, spec)
    names = _names(exported)
    for path, _ in pytree.tree_flatten_with_path(nest)[0]:
        _, first, *rest = path
        name: Any = getattr(first, "key", None)
        if isinstance(first, pytree.SequenceKey):
            name = names[first.idx] if first.idx < len(names) else first.idx
        yield f"L[{str(name)!r}]{pytree.keystr(tuple(rest))}"


def _names(exported: torch.export.ExportedProgram) -> list[str]:
    for entry in exported.module_call_graph:
        if entry.fqn == "" and entry.signature is not None:
            return list(getattr(entry.signature, "forward_arg_names", None) or ())
    return []
