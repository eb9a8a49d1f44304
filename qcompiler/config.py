"""How much effort compilation takes, as data: float passes and recipes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from qcompiler.errors import ConfigurationError, did_you_mean

FLOAT_PIPELINE = (
    "float16-to-float32,absorb-quantization,canonicalize,fuse-conv-bn,canonicalize,dead-code"
)
"""Passes before calibration; exact up to float rounding, and that of a source's own integers."""


_LEAST_TIMING = 0.025
"""Seconds of the shortest timing: three turns of two contenders."""
_LEAST_TURNS = 3
"""Rounds of it."""
_TOLD = 1 / 16
"""What a timing that decides nothing may take of the time before it."""


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
            calibrating took, but at least a second, and not more than `seconds`; that if the user
            names variants.
        timing: Seconds of interleaved timing that prove the result.
        turns: Least rounds of it, however long they take.
        fitting: Calibration samples that corrections are fitted to, where that is more than judge.
        trying: Share of `seconds` that variants of the float program and of ranges may take
            together; one that would take longer than what is left of it is not begun.
        variants: Accuracy passes that are tried, in the order of their stages, and kept where the
            loss is lower, or the time; passes of other distributions that name the recipe come
            behind them.
    """

    observer: str
    samples: int
    rounds: int
    probes: int
    seconds: float
    timing: float
    share: float | None = None
    fitting: int = 0
    trying: float = 0.5
    turns: int = 7
    variants: tuple[str, ...] = ()

    def search_seconds(self, elapsed: float, named: bool = False) -> float:
        """Budget of the search, given how long everything before it took.

        Whoever names variants wants them tried: then it is all of `seconds`.
        """
        if self.share is None or named:
            return self.seconds
        return min(self.seconds, max(1.0, self.share * elapsed))

    def limited(self, elapsed: float, searching: bool, named: bool = False) -> Recipe:
        """What is left to spend, given how long everything before took.

        Args:
            elapsed: Seconds before.
            searching: Whether there is something to choose.
            named: Whether the user names variants.

        A timing that decides nothing, of what was asked for by name, is in proportion too.
        """
        seconds = self.search_seconds(elapsed, named)
        if self.share is None or searching:
            return replace(self, seconds=seconds)
        timing = min(self.timing, max(_LEAST_TIMING, self.share * elapsed * _TOLD))
        return replace(self, seconds=seconds, timing=timing, turns=_LEAST_TURNS)


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
            variants=(
                "spare-regions",
                "smooth-swishes",
                "smooth-activations",
                "convolve-batch-norm",
                "use-ranges{method=minmax}",
                "correct-bias",
                "spare-products",
            ),
        ),
        "best": Recipe(
            "mse",
            samples=32,
            rounds=32,
            probes=2000,
            seconds=600.0,
            timing=5.0,
            fitting=96,
            variants=(
                "spare-regions",
                "equalize-layers",
                "smooth-swishes",
                "smooth-activations",
                "split-channels",
                "absorb-high-bias",
                "convolve-batch-norm",
                "convolve-transposed",
                "merge-products",
                "spell-hard-swish",
                "use-ranges{method=minmax}",
                "choose-ranges{elements=3e10,looks=2000}",
                "gptq{bits=4,ratios=4}",
                "correct-bias",
                "distill",
                "correct-bias{cascade=true}",
                "spare-products",
            ),
        ),
    }
)


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
