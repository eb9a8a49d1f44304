"""Calibration data that cannot be what the model was made for, as far as it shows without labels.

Blank images, images whose division by 255 was forgotten, one sample over and over: all give ranges,
and a loss on the same data that looks fine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.errors import LoweringError
from qcompiler.execution.session import OrtSession
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.origin import describe, source_line
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed, arrays_of, content, plain_arrays
from qcompiler.ir.views import cut
from qcompiler.ir.walk import constant, is_op
from qcompiler.quantization.histogram import sample_rows

Array = npt.NDArray[Any]

_FEW = 8
"""Rows below which ranges and losses say little about other data."""
_OUTLIER = 10.0
"""How much further one sample may reach than all others."""
_NORMS = 3
"""BatchNormalizations compared: the first ones, which later ones follow."""
_APART = 4.0
"""Standard deviations of training between its mean and the mean here, in the median channel."""
_SPREAD = 30.0
"""Ratio of variances, either way, in the median channel."""


def data_findings(
    source: Program, feeds: Sequence[Feed], *, seen: int = 0, run: bool = True
) -> list[Diagnostic]:
    """What looks wrong with the samples, the worst first.

    Args:
        source: The model before its BatchNormalizations are folded.
        feeds: Samples kept from calibration.
        seen: How many there were; those that were kept if it is less.
        run: Run the model on a few of them, too; whoever interrupted the search does not wait.
    """
    if not feeds:
        return []
    found = [*_blank(feeds), *_repeated(feeds, seen), *_outliers(feeds)]
    return [*found, *_off_training(source, feeds)] if run else found


def _blank(feeds: Sequence[Feed]) -> Iterator[Diagnostic]:
    """All data inputs hold one number: nobody's data, whatever the model."""
    held = {
        name: _extremes(arrays)
        for name, arrays in _given(feeds).items()
        if any(array.size > 1 and array.dtype.kind in "fiu" for array in arrays)
    }
    if held and all(low == high for low, high in held.values()):
        numbers = ", ".join(f"'{name}' is {low + 0.0:g}" for name, (low, _) in held.items())
        yield _warning("DATA01", f"the calibration data is constant: {numbers} everywhere")


def _given(feeds: Sequence[Feed]) -> dict[str, list[Array]]:
    """The arrays of every input; an optional one has none in some samples."""
    found: dict[str, list[Array]] = {}
    for feed in feeds:
        for name, array in plain_arrays(feed):
            found.setdefault(name, []).append(array)
    return found


def _repeated(feeds: Sequence[Feed], seen: int) -> Iterator[Diagnostic]:
    """Too few samples that differ.

    Whatever a value's distribution is, of others like n samples 2 / (n + 1) go beyond the least or
    the largest of them: all orders of n + 1 samples are as likely.
    """
    rows = {row for feed in feeds for row in _rows(feed)}
    if len(feeds) > 1 and len({_digest(feed) for feed in feeds}) == 1:
        yield _warning("DATA02", f"all {len(feeds)} calibration samples are the same one")
        return
    count = round(len(rows) * max(1.0, seen / len(feeds)))
    if not count and _given(feeds):
        yield _warning("DATA02", "no calibration sample holds a number: axes have the size 0")
    elif 0 < count < _FEW:
        number = f"are only {count} different calibration samples"
        number = "is only 1 calibration sample" if count == 1 else number
        told = (
            f"there {number}: of others like them, "
            f"{2 / (count + 1):.0%} go beyond what these reach, value by value"
        )
        yield Diagnostic(Severity.INFO, "DATA02", told, hint="some hundred are usual")


def _outliers(feeds: Sequence[Feed]) -> Iterator[Diagnostic]:
    """Ranges that one sample alone makes."""
    for name, arrays in _given(feeds).items():
        if len(arrays) < 3 or arrays[0].dtype.kind != "f":
            continue
        reach = [max(map(abs, _extremes([array]))) for array in arrays]
        largest = int(np.argmax(reach))
        rest = max(each for i, each in enumerate(reach) if i != largest)
        if rest > 0 and reach[largest] > _OUTLIER * rest:
            yield _warning(
                "DATA03",
                f"one calibration sample alone sets the range of '{name}': it reaches "
                f"{reach[largest]:.4g}, all others {rest:.4g} at most",
            )


def _off_training(source: Program, feeds: Sequence[Feed]) -> Iterator[Diagnostic]:
    """Activations in front of a BatchNormalization that are far from what it saw in training."""
    norms = [node for node in source.graph if is_op(node, "BatchNormalization")][:_NORMS]
    for node, arrays in zip(norms, _in_front_of(source, norms, feeds[:4]), strict=False):
        mean, variance = (constant(node.inputs[i]) for i in (3, 4))
        if mean is None or variance is None or not _is_trained(mean, variance):
            continue
        columns = np.concatenate([_by_channel(each) for each in arrays], axis=1)
        shift = np.median(np.abs(columns.mean(1) - mean) / np.sqrt(variance + 1e-5))
        spread = np.median((columns.var(1) + 1e-5) / (variance + 1e-5))
        if shift < _APART and 1 / _SPREAD < spread < _SPREAD:
            continue
        yield Diagnostic(
            Severity.WARNING,
            "DATA04",
            f"the calibration data is not like the training data: in front of {describe(node)} the "
            f"mean is {shift:.1f} standard deviations from that of training, the variance "
            f"{spread:.2g} times that (in the median channel){_bytes_note(feeds)}",
            node=node.name,
            source=source_line(node),
            hint="prepare the samples as in training: scale, mean, order of channels",
        )
        return


def _in_front_of(
    source: Program, norms: Sequence[ir.Node], feeds: Sequence[Feed]
) -> list[list[Array]]:
    """What each of these nodes reads, per sample."""
    read = [node.inputs[0] for node in norms if node.inputs[0] is not None]
    if not read:
        return []
    try:
        session = OrtSession(cut(source.model, list(dict.fromkeys(read))))
        runs = [dict(zip(session.output_names, session.run_checked(f), strict=True)) for f in feeds]
    except LoweringError:
        return []
    return [[run[value.name or ""] for run in runs] for value in read]


def _is_trained(mean: Array, variance: Array) -> bool:
    """Whether the statistics are others than those that a new layer begins with."""
    return bool(np.any(mean != 0) or np.any(variance != 1))


def _by_channel(array: Array) -> Array:
    """[N, C, ...] as [C, elements] in float64; of large images some, evenly spread."""
    return sample_rows(np.moveaxis(array, 1, 0)).astype(np.float64)


def _bytes_note(feeds: Sequence[Feed]) -> str:
    """Said of inputs that look like the bytes of an image."""
    for name, array in plain_arrays(feeds[0]):
        if array.dtype.kind == "f" and array.size > 64:
            whole = np.array_equal(array, np.round(array))
            if whole and array.min() >= 0 and 50 < array.max() <= 255:
                return f"; '{name}' holds whole numbers from 0 to 255: was it to be divided by 255?"
            if array.max() > 50:
                return f"; '{name}' reaches {array.max():.4g}"
    return ""


def _extremes(arrays: Sequence[Array]) -> tuple[float, float]:
    some = [each for each in arrays if each.size and each.dtype.kind in "fiub"]
    ends = [end for each in some for end in _ends(each)]
    return min(ends, default=0.0), max(ends, default=0.0)


def _ends(array: Array) -> tuple[float, ...]:
    """Smallest and largest finite element."""
    low, high = float(array.min()), float(array.max())
    if math.isfinite(low) and math.isfinite(high):
        return low, high
    finite = array[np.isfinite(array)]
    return (float(finite.min()), float(finite.max())) if finite.size else ()


def _rows(feed: Feed) -> Iterator[bytes]:
    """The rows of the first data input, which are samples where it has a batch."""
    array = next((each for _, each in arrays_of(feed) if each.size > 1), None)
    if array is None:
        return
    for row in array if array.ndim > 1 else (array,):
        yield content(row)


def _digest(feed: Feed) -> tuple[bytes, ...]:
    return tuple(content(each) for _, each in arrays_of(feed))


def _warning(rule: str, message: str) -> Diagnostic:
    hint = "calibrate with samples like those that the model will see"
    return Diagnostic(Severity.WARNING, rule, message, hint=hint)
