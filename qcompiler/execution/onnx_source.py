"""A source model in ONNX, run as it came: the reference for what is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from qcompiler.errors import LoweringError
from qcompiler.execution.session import OrtSession
from qcompiler.frontends.maps import without_maps
from qcompiler.frontends.weight_files import model_files
from qcompiler.ir.signature import Feed
from qcompiler.ir.tensors import is_large

Array = npt.NDArray[Any]
_REFERENCE_BYTES = 32 << 20
"""Models above this are too slow for onnx.reference, which computes in numpy."""


class OnnxSource:
    """A model on ONNX Runtime without its optimizations; in onnx.reference where that cannot.

    Args:
        model: As the user gave it.

    Raises:
        LoweringError: Nothing here runs it.
    """

    def __init__(self, model: ir.Model | onnx.ModelProto | Path | str) -> None:
        self._model: ir.Model | onnx.ModelProto | Path | str = model
        self._reference: ReferenceEvaluator | None = None
        self._session: OrtSession | None = None
        try:
            self._session = self._opened()
        except LoweringError:
            self._reference = self._evaluator()

    @property
    def typed(self) -> bool:
        """onnx.reference computes in numpy, which widens some types."""
        return self._reference is None

    def run(self, feed: Feed) -> list[Any]:
        """Outputs in graph order.

        Raises:
            LoweringError: It does not run on these inputs.
        """
        if self._reference is not None:
            return self._evaluated(self._reference, feed)
        if self._session is None:
            self._session = self._opened()
        return self._session.run_checked(feed)

    def release(self) -> None:
        """Lets go of the session and its copy of the weights; the next run opens it anew."""
        self._session = None

    def values(self, feed: Feed, names: Iterable[str]) -> Mapping[str, Array]:
        """Interior values of the main graph among these names, as far as they can be had."""
        model = self._graph()
        present = {output.name for node in model.graph for output in node.outputs}
        wanted = [name for name in names if name in present]
        try:
            session = OrtSession(model, optimize=False, extra_outputs=wanted)
            return dict(zip(session.output_names, session.run_checked(feed), strict=True))
        except LoweringError:
            return {}

    def _opened(self) -> OrtSession:
        if isinstance(self._model, str | Path):
            path = Path(self._model)
            large = is_large(sum(each.stat().st_size for each in model_files(path)))
            session = OrtSession(path, optimize=False, packed=not large)
            if not _may_give_maps(session):
                return session
            self._model = onnx.load(self._model)
        if isinstance(self._model, onnx.ModelProto):
            self._model = without_maps(self._model)[0]
        return OrtSession(self._graph(), optimize=False)

    def _graph(self) -> ir.Model:
        match self._model:
            case ir.Model():
                return self._model
            case onnx.ModelProto():
                return ir.from_proto(self._model)
        return ir.load(self._model)

    def _evaluator(self) -> ReferenceEvaluator:
        graph = self._graph()
        tensors = (value.const_value for value in graph.graph.initializers.values())
        if sum(each.nbytes for each in tensors if each is not None) > _REFERENCE_BYTES:
            raise LoweringError(
                "the source does not run here as it is",
                why="ONNX Runtime refuses it, and it is too large for onnx.reference",
                fix="look at what ONNX Runtime says of the model itself",
            )
        try:
            return ReferenceEvaluator(ir.to_proto(graph))
        except Exception as error:  # numpy code of every op; there is no common base
            raise LoweringError(
                "the source does not run here as it is",
                why=str(error),
                fix="look at what ONNX Runtime says of the model itself",
            ) from error

    def _evaluated(self, reference: ReferenceEvaluator, feed: Feed) -> list[Any]:
        try:
            found = list(reference.run(None, feed))
        except Exception as error:
            raise LoweringError(
                "onnx.reference failed",
                why=str(error),
                fix="look at what ONNX Runtime says of the model itself",
            ) from error
        return found


def _may_give_maps(session: OrtSession) -> bool:
    """Whether an output is a sequence of something that is no tensor."""
    outputs = session.signature.outputs
    return any(each.container == "sequence" and each.dtype is None for each in outputs)
