"""A small program for the framework's tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text

_TEXT = """
<ir_version: 10, opset_import: ["" : 21]>
chain (float[2,3] x) => (float[2,3] y) {
    a = Relu (x)
    b = Identity (a)
    c = Identity (b)
    d = Neg (c)
    y = Add (d, d)
}
"""

MakeProgram = Callable[[], Program]


@pytest.fixture
def make_program() -> MakeProgram:
    """Makes Relu → Identity → Identity → Neg → Add, a new one for every call."""

    def make() -> Program:
        return from_text(_TEXT)

    return make


@pytest.fixture
def program(make_program: MakeProgram) -> Program:
    """One such program."""
    return make_program()
