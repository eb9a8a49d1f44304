"""`Scorer`: the user's `evaluate`, asked once per artifact, with feeds in any form."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, SupportsFloat

from qcompiler.errors import ConfigurationError, users_code
from qcompiler.execution.feeds import call_leaves, checked_feed
from qcompiler.ir.signature import Signature
from qcompiler.target.artifact import Artifact

Evaluate = Callable[[Callable[[Any], Any]], SupportsFloat]
"""Called with `run`; returns a score, higher is better.

`run` is called as the source, or with a feed in any form of calibration's, and returns what the
source returns: tensors, nested as the module returns them, for a torch model; a list of arrays for
an ONNX model."""


@dataclass(frozen=True, eq=False)
class Scorer:
    """Scores artifacts by the user's function.

    Attributes:
        evaluate: The function.
        signature: What the model takes; `run` accepts every form of feed that calibration does.
    """

    evaluate: Evaluate
    signature: Signature

    def score(self, artifact: Artifact) -> float:
        """The score of an artifact; NaN if `evaluate` says so.

        Raises:
            FeedError: `evaluate` ran a feed that does not fit the model.
            ConfigurationError: It returned no number.
        """
        nested = self.signature.unflatten is not None

        def run(*args: Any, **kwargs: Any) -> Any:
            leaves = call_leaves(self.signature, args, kwargs)
            outputs = artifact.run(checked_feed(self.signature, leaves))
            return self.signature.returned(outputs, tensors=nested)

        with users_code("evaluate, which scores a candidate"):
            found = self.evaluate(run)
        try:
            if isinstance(found, str):  # float() would read it
                raise TypeError("a text")
            return float(found)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"evaluate returned {_shown(found)}",
                why="the score of a model is one number, higher is better",
                fix="return a float",
            ) from error

    def reference(self, artifact: Artifact) -> float:
        """The score of float, which all others are compared with.

        Raises:
            ConfigurationError: It is no finite number.
        """
        score = self.score(artifact)
        if not math.isfinite(score):
            raise ConfigurationError(
                f"evaluate returned {score} for the float model",
                why="losses are counted from the score of float",
                fix="check the data and labels that evaluate uses",
            )
        return score


def _shown(found: Any) -> str:
    """A value on one line: arrays of many numbers by their shape."""
    shape = getattr(found, "shape", None)
    if shape is not None:
        return f"{type(found).__name__} of shape {list(shape)}"
    return reprlib.repr(found)
