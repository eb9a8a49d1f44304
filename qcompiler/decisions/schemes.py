"""Schemes: what a user may ask for by one name, as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import onnx_ir as ir

from qcompiler.decisions.wanted import (
    UNWEIGHTED,
    Wanted,
    families,
    first_choice,
    looked_up,
)
from qcompiler.errors import ConfigurationError, did_you_mean
from qcompiler.ir.plan import FLOAT
from qcompiler.quantization.qspace import Granularity, Levels, QSpace
from qcompiler.target.capability import PER_TENSOR, CapabilityTable, Implementation, Kernel

WEIGHT_BLOCKS = (16, 32, 64, 128, 256)
"""Weights per scale that a scheme may ask for by `-b<size>`."""


def blocked(precision: str, size: int) -> str:
    """Name of a weight-only form with its block size: `int4-weights-b128`."""
    return f"{precision}-b{size}"


CODEBOOK_BITS = range(2, 9)
CHANNELS_PER_TABLE = 16
"""Output channels that share a codebook where a scheme says so."""


def _level_spaces() -> Iterator[tuple[str, QSpace]]:
    def space(levels: Levels, bits: int, over: Granularity, size: int | None = None) -> QSpace:
        return QSpace(ir.DataType.UINT8, True, over, size, bits=bits, levels=levels)

    shares = (
        ("", Granularity.TENSOR, None),
        ("-per-channel", Granularity.CHANNEL, None),
        (f"-g{CHANNELS_PER_TABLE}", Granularity.GROUP, CHANNELS_PER_TABLE),
    )
    for suffix, over, size in shares:
        for bits in CODEBOOK_BITS:
            yield f"codebook{bits}-weights{suffix}", space(Levels.CODEBOOK, bits, over, size)
    for levels, usual, others in ((Levels.LOG2, 4, (3, 5)), (Levels.LOG2_SUMS, 6, (4, 5, 8))):
        yield f"{levels.value}-weights", space(levels, usual, Granularity.CHANNEL)
        for bits in others:
            yield f"{levels.value}-{bits}-weights", space(levels, bits, Granularity.CHANNEL)


LEVEL_SPACES: Mapping[str, QSpace] = MappingProxyType(dict(_level_spaces()))
"""Weights whose levels are not even, by the name of the form: codebooks per tensor, per output
channel and per group of those; powers of two (4 bits) and sums of two (6 bits), unless the name
says other bits."""


def _stored(
    numbers: str, block: int | None = None, symmetric: bool | None = None
) -> tuple[Wanted, ...]:
    return (Wanted(Kernel.WEIGHT_ONLY, weight=numbers, block=block, symmetric=symmetric),)


STORED: Mapping[str, bool | None] = MappingProxyType(
    {
        "int8-weights": None,
        "int8-weights-affine": False,
        "int4-weights": None,
        "int4-weights-affine": False,
        "int3-weights": None,
        "int3-weights-affine": False,
        "int2-weights": None,
    }
)
"""Weights in blocks, and whether zero points are fixed; None takes what a target offers first."""


FEW_BITS = ("int4", "int3", "int2", "ternary")
"""Weights of few bits, one scale per channel, under 8-bit activations."""


PREFERENCES: Mapping[str, tuple[Wanted, ...]] = MappingProxyType(
    {
        "int8": (
            Wanted(Kernel.STATIC, activation="int8"),
            Wanted(Kernel.DYNAMIC, weight="int8"),
            *_stored("int8"),
        ),
        **{
            name: (
                Wanted(Kernel.STATIC, activation="int8", weight=name),
                Wanted(Kernel.STATIC, activation="int8", weight=UNWEIGHTED, around=True),
            )
            for name in FEW_BITS
        },
        PER_TENSOR: (
            Wanted(Kernel.STATIC, activation="int8", weight="int8", per=Granularity.TENSOR),
            Wanted(Kernel.STATIC, activation="int8", weight=UNWEIGHTED, around=True),
        ),
        "int16": (Wanted(Kernel.STATIC, activation="int16"),),
        "fp8": (Wanted(Kernel.STATIC, activation="float8e4m3fn"),),
        "int8-dynamic": (Wanted(Kernel.DYNAMIC, weight="int8"),),
        **{
            (name if size is None else blocked(name, size)): _stored(
                name.partition("-")[0], size, symmetric
            )
            for name, symmetric in STORED.items()
            for size in (None, *WEIGHT_BLOCKS)
        },
        "fp8-weights": _stored("float8e4m3fn"),
        "fp8-e5m2-weights": _stored("float8e5m2"),
        **{name: _stored(space.numbers) for name, space in LEVEL_SPACES.items()},
    }
)
"""What the forms of a precision are like, on whatever target; the first choice first."""


@dataclass(frozen=True)
class Scheme:
    """How precision is given out: a preference among the forms that a target offers.

    Attributes:
        precision: `auto` lets the search decide per region, `float32` leaves all as it is; a row of
            `PREFERENCES`, or the name of a form of the target (`int8-float-out`), is taken wherever
            it is legal. A name of weights without a block size takes the target's own.
        observer: Calibration method: `minmax`, `moving-average`, `percentile`, `entropy`, `mse`.
    """

    precision: str = "auto"
    observer: str | None = None

    @property
    def is_auto(self) -> bool:
        return self.precision == "auto"

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """What forms it takes, the first choice first."""
        return PREFERENCES.get(self.precision, (Wanted(precision=self.precision),))

    def takes(self, form: Implementation) -> bool:
        """Whether a region may come to run in this form."""
        return form.searched if self.is_auto else any(row.takes(form) for row in self.wanted)

    def means(self, form: Implementation) -> bool:
        """Whether the form is what the scheme is for, and not only what it puts around that."""
        return any(row.takes(form) for row in self.wanted if not row.around)

    def choose(self, forms: Sequence[Implementation], table: bool = False) -> Implementation | None:
        """Its choice among the legal forms of a region; None for float.

        Args:
            forms: The target's preferred one first.
            table: Whether the region looks up rows of a stored table.
        """
        if self.precision == FLOAT:
            return None
        if table:
            return looked_up(self.wanted, forms)
        return first_choice(self.wanted, forms, self.precision)

    def needs_calibration(self, table: CapabilityTable) -> bool:
        """Whether forms that it takes on a target have calibrated activation ranges."""
        return any(form.kernel is Kernel.STATIC and self.takes(form) for form in table.forms)


SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        "auto": Scheme("auto"),
        **{("dynamic" if name == "int8-dynamic" else name): Scheme(name) for name in PREFERENCES},
        FLOAT: Scheme(FLOAT),
    }
)


def scheme_of(given: str | Scheme) -> Scheme:
    """A scheme by name or as it is.

    Raises:
        ConfigurationError: No scheme of that name.
    """
    if isinstance(given, Scheme):
        return given
    if not isinstance(given, str) or given not in SCHEMES:
        raise ConfigurationError(
            f"there is no scheme {given!r}",
            fix=did_you_mean(str(given), SCHEMES, f"there are {', '.join(families(SCHEMES))}"),
        )
    return SCHEMES[given]
