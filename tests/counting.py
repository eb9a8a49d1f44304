"""Progress of long steps, kept to be looked at."""

from __future__ import annotations


class Counting:
    """A `Progress` that holds what is done and how much there is, by step."""

    def __init__(self) -> None:
        self.steps: dict[str, list[int | None]] = {}
        self.task = ""

    def start(self, task: str, total: int | None) -> None:
        self.task = task
        self.steps[task] = [0, total]

    def advance(self, amount: int = 1, note: str = "") -> None:
        done, total = self.steps[self.task]
        assert done is not None
        self.steps[self.task] = [done + amount, total]

    def finish(self) -> None:
        return None
