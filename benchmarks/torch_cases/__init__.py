"""Functions and layers of torch with every argument that a network gives them."""

from __future__ import annotations

from collections.abc import Mapping

FILES: Mapping[str, tuple[str, ...]] = {
    "pools": ("pools",),
    "recurrent": ("recurrent",),
    "attention": ("attention",),
    "resizes": ("resizes",),
    "convolutions": ("convolutions",),
    "norms": ("norms", "lookups"),
    "shapes": ("shapes",),
    "picking": ("picking",),
    "making": ("making",),
    "reductions": ("by_axis", "orders"),
    "activations": ("activations", "losses"),
    "products": ("products",),
    "transformers": ("transformers", "parametrized"),
    "binary": ("by_name", "mixed"),
    "unary": ("unary",),
    "nests": ("nests",),
    "frozen": ("frozen",),
    "changed": ("changed",),
    "stateful": ("stateful",),
    "types": ("typed_modules", "scripts"),
}
"""By file, the functions that make its cases."""
