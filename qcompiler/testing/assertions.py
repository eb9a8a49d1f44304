"""Assertions about programs: their text, and what they compute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import unified_diff
from textwrap import dedent
from typing import Any

import numpy as np

from qcompiler.execution.feeds import normalize_feed
from qcompiler.execution.made_up import made_up
from qcompiler.execution.session import OrtSession
from qcompiler.frontends.load import load
from qcompiler.ir.program import Program
from qcompiler.ir.text import to_text

_FEEDS = 2


def assert_ir(program: Program, expected: str, *, inline: int = 8) -> None:
    """Fails, with a diff, if a program is not what the text says.

    Args:
        program: What came out of a pass.
        expected: As `to_text` prints it; the header with versions may be left out, indentation
            does not count.
        inline: Constants of more elements are compared by dtype and shape, see `to_text`.

    Raises:
        AssertionError: They differ.
    """
    found, wanted = _lines(to_text(program, inline=inline)), _lines(expected)
    if found != wanted:
        told = unified_diff(wanted, found, "expected", "found", lineterm="")
        raise AssertionError("the program is another one\n" + "\n".join(told))


def assert_same_function(
    one: Any, other: Any, feeds: Iterable[Any] | None = None, *, noise: float = 1e-6
) -> None:
    """Fails if two programs compute different things on ONNX Runtime.

    Args:
        one: A Program, or anything that `load` takes.
        other: The one that has to be equal to it.
        feeds: What to run; by default made-up feeds, of normal numbers and zeros for integers,
            with open dimensions of 2 and 3.
        noise: Noise-to-signal ratio allowed for each float output; 1e-6 is 60 dB, far above
            rounding of float32 and far below a fault. Other types have to be equal.

    Raises:
        AssertionError: They differ; names the output and the feed.
    """
    before, after = load(one), load(other)
    first, second = OrtSession(before.model), OrtSession(after.model)
    given = [made_up(before.signature, 2 + number) for number in range(_FEEDS)]
    samples = given if feeds is None else [normalize_feed(before.signature, x) for x in feeds]
    if not samples:
        raise AssertionError("there are no feeds to compare on")
    for number, feed in enumerate(samples):
        outputs = first.run(feed), second.run(feed)
        _compare(before.signature.output_names, outputs, noise, number)


def _compare(
    names: Sequence[str], outputs: tuple[list[Any], list[Any]], noise: float, feed: int
) -> None:
    if len(outputs[0]) != len(outputs[1]):
        counts = " and ".join(str(len(each)) for each in outputs)
        raise AssertionError(f"the programs have {counts} outputs")
    one, other = ([np.asarray(each) for each in run] for run in outputs)
    for name, wanted, found in zip(names, one, other, strict=True):
        place = f"output '{name}' of feed {feed}"
        if wanted.shape != found.shape or wanted.dtype != found.dtype:
            kinds = f"{wanted.dtype}{list(wanted.shape)}, {found.dtype}{list(found.shape)}"
            raise AssertionError(f"{place}: {kinds}")
        if wanted.dtype.kind != "f":
            if not np.array_equal(wanted, found):
                raise AssertionError(f"{place}: integers differ")
            continue
        lost = _noise(wanted.astype(np.float64), found.astype(np.float64))
        if not lost <= noise:
            raise AssertionError(f"{place}: noise-to-signal ratio {lost:.2g}, allowed {noise:g}")


def _noise(wanted: Any, found: Any) -> float:
    """Infinite where what is not finite differs, or where there is noise and no signal."""
    finite = np.isfinite(wanted)
    if not np.isfinite(found[finite]).all():
        return float("inf")
    if not np.array_equal(wanted[~finite], found[~finite], equal_nan=True):
        return float("inf")
    noise = float(np.square(wanted[finite] - found[finite]).sum())
    signal = float(np.square(wanted[finite]).sum())
    if noise == 0:
        return 0.0
    return noise / signal if signal else float("inf")


def _lines(text: str) -> list[str]:
    """Lines without indentation and without the header."""
    lines = [line.strip() for line in dedent(text).strip().splitlines() if line.strip()]
    if lines and lines[0].startswith("<"):
        end = next((n for n, line in enumerate(lines) if line.endswith(">")), 0)
        return lines[end + 1 :]
    return lines
