"""`print(compiled.kernels)` is a line, however many regions there are."""

from __future__ import annotations

import pytest

from qcompiler.target.artifact import KernelCount

NAMES = tuple(f"/layers/{i}/conv" for i in range(1000))


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (KernelCount(), "<KernelCount nothing in integers>"),
        (KernelCount(NAMES), "<KernelCount 1000 in integers>"),
        (
            KernelCount(NAMES, {"a": "why"}, {"Conv": 3}, ("b",), {"c": "2 for 3"}),
            "<KernelCount 1000 in integers, 1 in float for all that, 1 simulated, 1 altered>",
        ),
    ],
)
def test_what_is_printed_are_counts(count: KernelCount, shown: str) -> None:
    assert repr(count) == shown
