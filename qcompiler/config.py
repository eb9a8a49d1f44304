"""What a user may ask for: schemes and recipes, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from qcompiler.errors import ConfigurationError, did_you_mean

FLOAT_PIPELINE = (
    "float16-to-float32,absorb-quantization,canonicalize,fuse-conv-bn,canonicalize,dead-code"
)
"""Passes before calibration; exact up to float rounding, and that of a source's own integers."""


@dataclass(frozen=True)
class Scheme:
    """How precision is given out.

    Attributes:
        precision: `auto` lets the search decide per region; any other name is asked for wherever
            it is legal: `int8`, `int8-float-out`, `int8-dynamic`, `int4-weights` (in the target's
            own block size), `int4-weights-b128`, `float32`, ...
        observer: Calibration method: `minmax`, `moving-average`, `percentile`, `entropy`, `mse`.
    """

    precision: str = "auto"
    observer: str | None = None

    @property
    def is_auto(self) -> bool:
        return self.precision == "auto"

    @property
    def needs_calibration(self) -> bool:
        """Whether static activation ranges are asked for."""
        return self.precision in ("auto", "int8", "int8-float-out", "int8-shared")


WEIGHT_BLOCKS = (16, 32, 64, 128, 256)
"""Weights per scale that a scheme may ask for by `-b<size>`."""


def blocked(precision: str, size: int) -> str:
    """Name of a weight-only form with its block size: `int4-weights-b128`."""
    return f"{precision}-b{size}"


SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        "auto": Scheme("auto"),
        "int8": Scheme("int8"),
        "dynamic": Scheme("int8-dynamic"),
        **{
            name: Scheme(name)
            for precision in ("int8-weights", "int4-weights", "int2-weights")
            for name in (precision, *(blocked(precision, size) for size in WEIGHT_BLOCKS))
        },
        "float32": Scheme("float32"),
    }
)


@dataclass(frozen=True)
class Recipe:
    """How much effort compilation takes.

    Attributes:
        observer: Calibration method unless the scheme names one.
        samples: Calibration samples kept to judge candidates.
        rounds: Most solve-and-measure rounds.
        probes: Most runs to measure sensitivities when the cheapest plan loses too much.
        seconds: Budget of the search unless `budget` is given; the search may overrun this one to
            use what it has begun to measure.
        share: If set, the search takes at most this multiple of the time that loading and
            calibrating took, but at least a second, and not more than `seconds`.
        timing: Seconds of interleaved timing that prove the result.
        variants: Accuracy passes that are tried, in this order, and kept where the loss is lower;
            registered passes that name the recipe come behind them.
    """

    observer: str
    samples: int
    rounds: int
    probes: int
    seconds: float
    timing: float
    share: float | None = None
    variants: tuple[str, ...] = ()

    def search_seconds(self, elapsed: float) -> float:
        """Budget of the search, given how long everything before it took."""
        if self.share is None:
            return self.seconds
        return min(self.seconds, max(1.0, self.share * elapsed))


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "fast": Recipe(
            "minmax", samples=4, rounds=5, probes=40, seconds=20.0, timing=0.4, share=1.0
        ),
        "balanced": Recipe(
            "mse",
            samples=8,
            rounds=12,
            probes=240,
            seconds=60.0,
            timing=1.5,
            variants=("use-ranges{method=minmax}", "correct-bias"),
        ),
        "best": Recipe(
            "mse",
            samples=32,
            rounds=32,
            probes=2000,
            seconds=600.0,
            timing=5.0,
            variants=("use-ranges{method=minmax}", "correct-bias"),
        ),
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
            fix=did_you_mean(str(given), SCHEMES, f"there are {', '.join(SCHEMES)}"),
        )
    return SCHEMES[given]


def recipe_of(name: str) -> Recipe:
    """A recipe by name.

    Raises:
        ConfigurationError: No recipe of that name.
    """
    if not isinstance(name, str) or name not in RECIPES:
        raise ConfigurationError(
            f"there is no recipe {name!r}",
            fix=did_you_mean(str(name), RECIPES, f"there are {', '.join(RECIPES)}"),
        )
    return RECIPES[name]
