"""How often a program was edited, by kind."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class EditCounts:
    """How often a program was edited, by kind."""

    inserted: int = 0
    erased: int = 0
    replaced_uses: int = 0
    constants: int = 0
    attributes: int = 0

    @property
    def total(self) -> int:
        return self.inserted + self.erased + self.replaced_uses + self.constants + self.attributes
