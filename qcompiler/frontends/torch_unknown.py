"""Results of a kind that torch.export does not know: caches of decoders, objects of one's own.

`torch.export` ends at any object among the results that is no tensor, number or string ("not a
known type"). The tensors beside it are what the module is compiled for: None takes its place. A
mapping of a class of one's own becomes a plain dict.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree

_KNOWN = (
    torch.Tensor, torch.SymInt, torch.SymFloat, torch.SymBool, torch.ScriptObject,
    int, float, complex, str, bytes, type(None),
    torch.dtype, torch.device, torch.layout, torch.memory_format,
)  # fmt: skip


def mappings(results: Any) -> list[str]:
    """Names of the classes of mappings that are no nests to torch."""
    leaves = pytree.tree_leaves(results)
    return [type(leaf).__name__ for leaf in leaves if isinstance(leaf, Mapping)]


def with_dicts(results: Any) -> Any:
    """Results with dicts in the place of such mappings."""

    def plain(leaf: Any) -> Any:
        return with_dicts(dict(leaf)) if isinstance(leaf, Mapping) else leaf

    return pytree.tree_map(plain, results)


@contextlib.contextmanager
def without_unknown_results(module: torch.nn.Module) -> Iterator[dict[str, None]]:
    """While it is entered, the module gives None where it gave an object of an unknown kind.

    Yields:
        Notes on what is left out, filled whenever the module runs.
    """
    notes: dict[str, None] = {}

    def left_out(path: Any, leaf: Any) -> Any:
        if isinstance(leaf, _KNOWN):
            return leaf
        notes[
            f"result '{pytree.keystr(path).lstrip('.') or 'of the module'}' is left out (None "
            f"takes its place): torch.export knows no {type(leaf).__name__}; return tensors, or "
            "register the class with torch.utils._pytree.register_pytree_node"
        ] = None
        return None

    def hook(_: torch.nn.Module, __: Any, results: Any) -> Any:
        for kind in mappings(results):
            notes[
                f"a {kind} among the results is given as a dict: torch.export knows no {kind}"
            ] = None
        results = with_dicts(results)
        if not any(isinstance(leaf, torch.Tensor) for leaf in pytree.tree_leaves(results)):
            return results  # nothing would be left: torch.export says what is wrong
        return pytree.tree_map_with_path(left_out, results)

    handle = module.register_forward_hook(hook)
    try:
        yield notes
    finally:
        handle.remove()
