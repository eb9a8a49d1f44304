"""Specs of nests in the words of every torch that is supported: 2.10 renamed them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils import _pytree as pytree


def children(spec: pytree.TreeSpec) -> Sequence[pytree.TreeSpec]:
    """Specs one level down."""
    named: Any = getattr(spec, "children", None)
    parts: Sequence[pytree.TreeSpec] = spec.children_specs if named is None else named()
    return parts


def leaf() -> pytree.TreeSpec:
    """The spec of anything that is no container."""
    make: Any = getattr(pytree, "treespec_leaf", None) or pytree.LeafSpec
    found: pytree.TreeSpec = make()
    return found
