"""Patterns that users name regions by: op, node, module, or a subtree of modules."""

from __future__ import annotations

from fnmatch import fnmatchcase


def region_fits(pattern: str, key: str, module: str | None, op: str) -> bool:
    """By `op:OpType`, by node name, or by the path of its module or of one around it.

    Args:
        pattern: A glob; `encoder.*` means `encoder` itself, too.
        key: Name of the region's anchor.
        module: Path of the module that it is in.
        op: The anchor's op.
    """
    if pattern.startswith("op:"):
        return fnmatchcase(op, pattern[3:])
    parts = (module or "").split(".")
    around = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    subtree = pattern.removesuffix(".*")
    return any(
        fnmatchcase(name, pattern) or fnmatchcase(name, subtree) for name in (key, *around) if name
    )
