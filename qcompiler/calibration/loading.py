"""A source model and its calibration feeds, of which a few are looked at to load it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from qcompiler.calibration.feed_files import FeedFiles
from qcompiler.calibration.first_feeds import peeked
from qcompiler.errors import FeedError, LoweringError
from qcompiler.execution.feed_surplus import surplus_of
from qcompiler.execution.feeds import normalize_feed
from qcompiler.frontends.load import Dynamic, load
from qcompiler.ir.program import Program
from qcompiler.ir.tail import without_tail
from qcompiler.target.contract import Target


def loaded(
    model: object,
    calibration: Iterable[Any] | None,
    example_inputs: Any,
    dynamic: Dynamic,
    quiet: bool,
) -> tuple[Program, Iterable[Any] | None]:
    """The source as a program, and the feeds, of which none is taken yet.

    What is to be said of the feeds is said; `quiet` if a lack of them is meant.
    """
    first, others, feeds = peeked(calibration)
    with _of_one_array(calibration):
        if example_inputs is None:
            source = load(model, first, dynamic=dynamic, surplus=True, others=others)
        else:
            source = load(model, example_inputs, dynamic=dynamic)
        _allow_surplus(source, first)
    if first is None and not quiet:
        _warn(source, "without calibration data nothing runs in static int8 and nothing is timed")
    if isinstance(calibration, FeedFiles):
        files = (*source.provenance.files, *(each.absolute() for each in calibration.files))
        source.provenance = replace(source.provenance, files=files)
    return source, feeds


def _allow_surplus(source: Program, first: Any) -> None:
    """Lets feeds hold more than the model takes (labels), and says so.

    Raises:
        FeedError: What would be left out looks like an input.
    """
    signature = source.signature
    if first is None:
        return
    surplus = None if signature.flatten is not None else surplus_of(signature, first)
    if surplus is not None:
        source.signature = replace(signature, surplus=surplus)
        _warn(source, str(surplus))
    normalize_feed(source.signature, first)  # told before anything is done


@contextmanager
def _of_one_array(calibration: object) -> Iterator[None]:
    """An array in the place of feeds is iterated along its first axis, which few mean."""
    try:
        yield
    except FeedError as error:
        if hasattr(calibration, "shape"):
            error.why = "the calibration data is one array, whose rows are the feeds"
            error.fix = "pass a list of feeds: calibration=[x]"
        raise


def _warn(source: Program, text: str) -> None:
    """Puts a sentence in front of the report."""
    warnings = (*source.provenance.warnings, text)
    source.provenance = replace(source.provenance, warnings=warnings)


def front_of(model: object, source: Program, target: Target) -> tuple[object, Program]:
    """The model and its program, for some targets without the custom operators at its end.

    Raises:
        LoweringError: The target does not know them, or nothing is left in front of them.
    """
    front = without_tail(source)
    if front.tail is not None and not target.knows_custom_operators:
        raise LoweringError(
            f"{target.name} does not know {', '.join(front.tail.operators)}",
            where=front.tail.first,
            why="neither ONNX nor ONNX Runtime defines it",
            fix="cut the model in front of it, or compile for tensorrt, which leaves it as it is",
        )
    return (model if front is source else front), front
