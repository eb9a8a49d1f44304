"""`plot_quantization`: what quantization does to a tensor, as a picture."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qcompiler.errors import ConfigurationError
from qcompiler.qtensor.containers import received
from qcompiler.qtensor.quantizing import quantize
from qcompiler.qtensor.tensor import QTensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]
_MOST_NUMBERS = 64
"""Up to so many elements are written into their cells."""
_BINS = 80


def plot_quantization(
    x: Any, q: QTensor | None = None, *, path: str | Path | None = None
) -> Figure:
    """Draws original, integers, dequantized and error as heat maps, and a histogram.

    Args:
        x: Float values: numbers, lists, numpy or torch. More than two axes are drawn as a matrix
            [first axis, the rest].
        q: What became of them; by default `quantize(x)`.
        path: A file to write the picture to; the suffix says the format.

    Returns:
        A matplotlib figure, which notebooks show.

    Raises:
        ConfigurationError: Nothing to draw, or a `q` of another shape.
    """
    import matplotlib as mpl

    given = quantize(x) if q is None else q
    values = np.asarray(received(x)[0], np.float64)
    if values.shape != given.shape:
        raise ConfigurationError(
            f"q of shape {given.shape} is not that of x {values.shape}",
            fix="give the q that was made of x",
        )
    if values.size == 0:
        raise ConfigurationError(
            "there is nothing to draw in an empty tensor", fix="give a tensor that holds numbers"
        )
    real = given.real.astype(np.float64)
    with mpl.rc_context({"svg.hashsalt": "qcompiler", "font.size": 8}):
        figure = _shown_figure()(figsize=(11, 6.4), layout="constrained")
        grid = figure.subplot_mosaic("ABCD;EEEE", height_ratios=(3, 2))
        low, high = (float(end(each)) for end, each in ((np.min, values), (np.max, values)))
        shared = {"vmin": min(low, float(real.min())), "vmax": max(high, float(real.max()))}
        worst = float(np.abs(values - real).max()) or 1.0
        _map(grid["A"], "original", values, cmap="viridis", **shared)
        _map(grid["B"], f"integers, {given.bits} bits", given.data.astype(float), cmap="cividis")
        _map(grid["C"], "dequantized", real, cmap="viridis", **shared)
        _map(grid["D"], "error", values - real, cmap="RdBu", vmin=-worst, vmax=worst)
        _histogram(grid["E"], values, real)
        figure.suptitle(_caption(given, values, real))
        if path is not None:
            figure.savefig(path)
    return figure


@cache
def _shown_figure() -> type[Figure]:
    """A figure that notebooks show as the value of a cell, whatever backend is on."""
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        """Draws itself as PNG."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=90)
            return buffer.getvalue()

    return ShownFigure


def _map(axes: Axes, title: str, values: Array, **look: Any) -> None:
    matrix = values.reshape(values.shape[0] if values.ndim > 1 else 1, -1)
    image = axes.imshow(matrix, aspect="auto", interpolation="nearest", **look)
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.figure.colorbar(image, ax=axes, shrink=0.8)
    if matrix.size <= _MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(matrix):
            red, green, blue, _ = image.to_rgba(value)
            dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
            ink = "white" if dark else "black"
            axes.text(column, row, f"{value:.4g}", ha="center", va="center", color=ink)


def _histogram(axes: Axes, values: Array, real: Array) -> None:
    both = np.concatenate([values.ravel(), real.ravel()])
    bins = np.histogram_bin_edges(both, _BINS).tolist()
    axes.hist(values.ravel(), bins=bins, color="#c9c9c9", label="original")
    axes.hist(real.ravel(), bins=bins, histtype="step", color="#2a6f97", label="dequantized")
    axes.set_xlabel("value")
    axes.set_ylabel("elements")
    axes.legend(frameon=False)


def _caption(q: QTensor, values: Array, real: Array) -> str:
    error = values - real
    kind = q.space.numbers if q.space.is_table else q.space.dtype.name.lower()
    one = q.axis is None and not q.space.is_table
    how = f"S={q.params.scale}, Z={q.params.zero_point}" if one else f"{q.space.granularity.value}s"
    return (
        f"{kind}, {how}: largest error {np.abs(error).max():.4g}, "
        f"mean squared error {np.mean(error * error):.4g}"
    )
