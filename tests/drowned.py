"""Products in a row, some of them drowned by a channel that nobody needs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

import qcompiler as qc
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text

LAYERS = 9
Feed = dict[str, npt.NDArray[np.float32]]


def network(drowned: tuple[int, ...]) -> Program:
    """Channel 0 behind these is 30 000 times as wide, and the next product does not read it."""
    draw = np.random.default_rng(3)
    stored = {f"w{i}": (draw.normal(size=(8, 8)) / 3).astype(np.float32) for i in range(LAYERS)}
    for number in drowned:
        stored[f"w{number}"][:, 0] *= 3e4
        stored[f"w{number + 1}"][0] = 0
    names = ["x", *(f"v{i}" for i in range(LAYERS - 1)), "y"]
    steps = [f"[mm{i}] {names[i + 1]} = MatMul({names[i]}, w{i})" for i in range(LAYERS)]
    weights = ", ".join(f"float[8,8] {name}" for name in stored)
    return from_text(
        f"g (float[4,8] x) => (float[4,8] y) <{weights}> {{ {' '.join(steps)} }}", stored
    )


def samples(count: int) -> list[Feed]:
    """Feeds of it."""
    draw = np.random.default_rng(0)
    return [{"x": draw.normal(size=(4, 8)).astype(np.float32)} for _ in range(count)]


def kept_db(program: Program, made: qc.Compiled, feeds: list[Feed]) -> float:
    """Signal over noise of what is returned against the products in float64."""
    signal = noise = 0.0
    for feed in feeds:
        wanted = np.asarray(feed["x"], np.float64)
        for number in range(LAYERS):
            weight = program.model.graph.initializers[f"w{number}"].const_value
            assert weight is not None
            wanted = wanted @ weight.numpy().astype(np.float64)
        signal += float(np.square(wanted).sum())
        noise += float(np.square(made.run(feed)[0] - wanted).sum())
    return float(10 * np.log10(signal / noise))
