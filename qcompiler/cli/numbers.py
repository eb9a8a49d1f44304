"""Numbers, sizes and shapes as they are written on the command line."""

from __future__ import annotations

from collections.abc import Sequence

from qcompiler.calibration.images import Preprocessing
from qcompiler.cli.options import Images
from qcompiler.errors import ConfigurationError


def numbers_of(written: str | None, option: str) -> tuple[float, ...]:
    """`0.5` or `0.485,0.456,0.406`; nothing for None.

    Raises:
        ConfigurationError: Something else.
    """
    try:
        return () if written is None else tuple(map(float, written.split(",")))
    except ValueError:
        raise ConfigurationError(
            f"cannot read {option} '{written}'", fix=f"write {option} 0.485,0.456,0.406"
        ) from None


def size_of(written: str | None) -> tuple[int, int] | None:
    """`224`, or height and width as `224x320`.

    Raises:
        ConfigurationError: Something else.
    """
    if written is None:
        return None
    sizes = _sizes(written)
    if not 1 <= len(sizes) <= 2:
        raise ConfigurationError(
            f"cannot read --size '{written}'", fix="write 224, or height and width as 224x320"
        )
    return sizes[0], sizes[-1]


def images_of(written: Images) -> Preprocessing:
    """How images are read, from what was written.

    Raises:
        ConfigurationError: Something that cannot be read, or makes no sense.
    """
    means, stds = numbers_of(written.mean, "--mean"), numbers_of(written.std, "--std")
    return Preprocessing(
        size_of(written.size), written.layout, means, stds, written.scale, written.order
    )


def shapes_of(written: Sequence[str] | None) -> dict[str, tuple[int, ...]]:
    """Shapes by input, from `NAME=1x3x320x320`; the empty name where none is written.

    Raises:
        ConfigurationError: Something else.
    """
    found: dict[str, tuple[int, ...]] = {}
    for each in written or ():
        name, _, sizes = each.rpartition("=")
        found[name] = _sizes(sizes)
        if not found[name]:
            raise ConfigurationError(
                f"cannot read --shape '{each}'", fix="write --shape NAME=1x3x320x320"
            )
    return found


def _sizes(written: str) -> tuple[int, ...]:
    """Whole numbers with an x between; empty for anything else."""
    parts = written.lower().split("x")
    if not all(part.isascii() and part.isdigit() for part in parts):
        return ()
    return tuple(map(int, parts))
