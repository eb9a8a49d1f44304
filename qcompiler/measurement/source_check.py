"""The float program against its source: the model itself, run once where it comes from.

Whatever an import, a translation or an engine gets wrong in float is seen here and nowhere else:
all losses are counted from the target's own float run. Rounding is told from faults by size. A
float32 network keeps far more than 60 dB of its own result; where it does not, the source is run
again, and on inputs shaken in their last bits, to see whether it determines its outputs at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from qcompiler.errors import FeedError, LoweringError, QCompilerError, SourceError
from qcompiler.execution.feeds import normalize_feed
from qcompiler.execution.onnx_source import OnnxSource
from qcompiler.execution.session import OrtSession
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.origin import describe, source_line
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed, Signature, arrays_of, signature_of
from qcompiler.ir.walk import all_nodes, is_op
from qcompiler.measurement.loss import agreement_loss, noise_to_signal, output_losses, sqnr_db
from qcompiler.measurement.parts import output_slices
from qcompiler.measurement.slices import OutputSlices
from qcompiler.target.contract import Target

Array = npt.NDArray[Any]
Run = Callable[[Feed], Sequence[Any]]

_FLOAT_NSR = 1e-6
"""60 dB: a thousand times the rounding of float32 (2^-24, about 1e-7 of a number), squared."""
_STEPS = 32
"""How many roundings of coarser types may add up, in standard deviations."""
_LABELS = 0.01
"""Share of labels that may flip where two of them tie to the last bits."""
_SHAKEN = 1e-6
_MORE_THAN_SHAKEN = 1e3
_RANDOM = (
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial",
    "Bernoulli",
)  # fmt: skip
_COARSE = {ir.DataType.FLOAT16: 2.0**-11, ir.DataType.BFLOAT16: 2.0**-8} | dict.fromkeys(
    (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT4, ir.DataType.UINT4, ir.DataType.INT2,
     ir.DataType.UINT2), 2.0**-8,
)  # fmt: skip
"""Relative rounding of types that a source may compute in, quantized ones included.

Engines round activations to 8 bits in front of weights of 8 bits and fewer (MatMulNBits)."""


class Source(Protocol):
    """A source model that runs where it comes from."""

    def run(self, feed: Feed) -> Sequence[Any]:
        """Outputs in signature order; raises LoweringError where it does not run."""

    def values(self, feed: Feed, names: Iterable[str]) -> Mapping[str, Array]:
        """Interior values by name, as far as they can be had."""


def reference_of(model: object, program: Program) -> Source:
    """The source ready to run: a torch model eagerly, an ONNX model as it is.

    Args:
        model: What the user gave.
        program: What the front end made of it; the reference of itself where it was given.

    Raises:
        LoweringError: Nothing here runs it.
    """
    if isinstance(model, Program):
        return OnnxSource(model.model)
    if isinstance(model, str | Path | onnx.ModelProto | ir.Model):
        return OnnxSource(model)
    from qcompiler.execution.torch_source import TorchSource

    return TorchSource(model, program.signature)  # type: ignore[arg-type]  # load took it


@dataclass(eq=False)
class SourceCheck:
    """Compares float artifacts with the source.

    Attributes:
        source: The model as it came; None where it cannot be run.
        program: What the front end made of it.
        target: Where artifacts run.
        feeds: What to run; one or two.
        diagnostics: Why outputs could not be compared, if they could not.
        resized: A feed of another batch size, which the source need not take.
    """

    source: Source | None
    program: Program
    target: Target
    feeds: Sequence[Feed]
    diagnostics: list[Diagnostic] = field(default_factory=list)
    resized: Feed | None = None
    _wanted: list[list[Any]] | None = None
    _slices: list[OutputSlices] = field(default_factory=list)

    def check(self, program: Program, run: Run) -> None:
        """Runs a float program, which `run` does on the target, and compares.

        Raises:
            SourceError: They differ by more than rounding; names the first node that does.
        """
        wanted = self._reference()
        if not wanted:
            return
        found = [self._found(run, feed) for feed in self.feeds]
        worst = self._worst(found)
        if worst is None:
            return
        excuse = self._excuse(worst[1])
        node, undefined = (None, False) if excuse else self._first_difference(program)
        if node is not None and undefined:
            excuse = f"{describe(node)} makes integers of numbers out of their range, which ONNX "
            excuse += "leaves open"
        if excuse is not None:
            self._tell(f"the float program was not compared with its source: {excuse}", node)
            return
        raise SourceError(
            f"on {self.target.name} the float program computes something else than its source",
            where=describe(node) if node is not None else None,
            why=f"output '{worst[0]}' keeps {sqnr_db(worst[1]):.1f} dB of the source's"
            + ("; this is the first node that differs" if node is not None else "")
            + self._size_note(found),
            fix="export the model to ONNX another way, or take another target, and report it",
        )

    def _size_note(self, found: Sequence[Sequence[Any]]) -> str:
        """Said where the example's own size is right."""
        if self.resized is None or self.feeds[-1] is not self.resized:
            return ""
        if self._worst(found[:-1]) is not None:
            return ""
        return f"; only with another batch size than the example's, {_sizes(self.resized)}"

    def _found(self, run: Run, feed: Feed) -> list[Any]:
        """Outputs of the float program.

        Raises:
            LoweringError: It does not run.
        """
        try:
            return list(run(feed))
        except Exception as error:
            if feed is not self.resized and isinstance(error, QCompilerError):
                raise
            raise LoweringError(
                f"the float program does not run on {self.target.name}",
                where=None if feed is not self.resized else _sizes(feed),
                why=f"{type(error).__name__}: {error}",
                fix="take another target, or load the model with dynamic=False if other sizes "
                "than the example's fail",
            ) from error

    def _reference(self) -> list[list[Any]]:
        """The source's outputs; empty where there is nothing to compare with."""
        if self._wanted is None:
            self._wanted = []
            if self.source is None:
                return []
            try:
                self._wanted = [list(self.source.run(feed)) for feed in self.feeds]
                self._wanted += self._of_resized()
                self._slices = output_slices(self.program, self.feeds, self._wanted)
            except LoweringError as error:
                self._tell(f"the float program was not compared with its source: {error.why}")
        return self._wanted

    def _of_resized(self) -> list[list[Any]]:
        """The source's outputs for the feed of another size, if it takes that."""
        if self.resized is None or self.source is None:
            return []
        try:
            found = list(self.source.run(self.resized))
        except LoweringError:
            return []
        self.feeds = (*self.feeds, self.resized)
        return [found]

    def _tell(self, message: str, node: ir.Node | None = None) -> None:
        name = node.name if node is not None else None
        line = source_line(node) if node is not None else None
        found = Diagnostic(Severity.INFO, "SOURCE01", message, node=name, source=line)
        if found not in self.diagnostics:
            self.diagnostics.append(found)

    def _worst(self, found: Sequence[Sequence[Any]]) -> tuple[str, float] | None:
        """Name and loss of the output that differs most; None where all are within rounding.

        Args:
            found: Outputs of the first feeds.
        """
        assert self._wanted is not None
        count = len(found)
        slices = [each.first(count) for each in self._slices]
        losses = _losses(self._wanted[:count], found, slices)
        limit = rounding(self.program, self.target.floats)
        worst: tuple[str, float] | None = None
        names = self.program.signature.output_names
        for name, loss, each in zip(names, losses, slices, strict=False):
            allowed = max(limit, agreement_loss(_LABELS)) if any(each.labels) else limit
            if loss > allowed and (worst is None or loss > worst[1]):
                worst = name, loss
        return worst

    def _excuse(self, loss: float) -> str | None:
        """Why the source's outputs may differ, None if it determines them."""
        drawn = [node for node in all_nodes(self.program.model) if is_op(node, *_RANDOM)]
        if drawn:
            return f"{describe(drawn[0])} draws random numbers"
        assert self._wanted is not None
        assert self.source is not None
        again = [list(self.source.run(feed)) for feed in self.feeds]
        if _loss(self._wanted, again, self._slices) > rounding(self.program, self.target.floats):
            return "the source gives other results at every run"
        try:
            shaken = [list(self.source.run(_shaken(feed))) for feed in self.feeds]
        except LoweringError:
            return None
        noise = _loss(self._wanted, shaken, self._slices)
        if noise > 0 and loss <= _MORE_THAN_SHAKEN * noise:
            return "it turns changes in the last bits of its inputs into large ones"
        return None

    def _first_difference(self, program: Program) -> tuple[ir.Node | None, bool]:
        """The first node in graph order whose result differs, and if ONNX leaves that open.

        If ONNX Runtime computes of the program what the source does, the engine is wrong, and its
        values are compared with ONNX Runtime's; else those of ONNX Runtime with the source's.
        """
        feed, own = self.feeds[0], self.program
        names = [output.name or "" for node in own.graph for output in node.outputs if output.name]
        plain = _run_on_onnxruntime(own, feed, names)
        right = [plain[name] for name in own.signature.output_names if name in plain]
        if len(right) == len(own.signature.outputs) and self._worst([right]) is None:
            return _first(program, _run_on_target(self.target, program, feed), plain)
        found = plain or _run_on_target(self.target, own, feed)
        assert self.source is not None
        return _first(own, found, self.source.values(feed, names))


def with_other_batch(signature: Signature, feed: Feed) -> Feed | None:
    """The feed with a batch of another size; None where the batch is fixed or not to be told.

    The batch is the symbol of the first dimension of the first input that has one.
    """
    symbols = [
        spec.shape[0] for spec in signature.inputs if spec.shape and isinstance(spec.shape[0], str)
    ]
    if not symbols:
        return None
    resized = {}
    for spec in signature.inputs:
        array = feed[spec.name]
        if spec.shape and spec.shape[0] == symbols[0]:
            array = array[:-1] if len(array) > 2 else np.concatenate([array, array, array])
        resized[spec.name] = array
    try:
        return normalize_feed(signature, resized)
    except FeedError:
        return None


def _sizes(feed: Feed) -> str:
    return ", ".join(f"'{name}' {list(array.shape)}" for name, array in arrays_of(feed))


def rounding(program: Program, floats: Collection[ir.DataType] = ()) -> float:
    """Noise-to-signal ratio up to which two float runs of a program count as equal.

    Args:
        program: What is run.
        floats: Coarser types that the target computes floats in.
    """
    kinds = set(floats) | {value.dtype for value in program.graph.initializers.values()}
    kinds |= set(program.provenance.computed)
    kinds |= {output.dtype for node in all_nodes(program.model) for output in node.outputs}
    coarse = max((_COARSE.get(kind, 0.0) for kind in kinds if kind is not None), default=0.0)
    return max(_FLOAT_NSR, (_STEPS * coarse) ** 2)


def _losses(
    wanted: Sequence[Sequence[Any]],
    found: Sequence[Sequence[Any]],
    slices: Sequence[OutputSlices] | None,
) -> list[float]:
    """Loss by output; where the source is not finite, anything is right."""
    if any(len(a) != len(b) for a, b in zip(wanted, found, strict=True)):
        return [float("inf")] * len(wanted[0])
    pairs = [
        [_where_finite(y, q) for y, q in zip(a, b, strict=True)]
        for a, b in zip(wanted, found, strict=True)
    ]
    left = [[pair[0] for pair in sample] for sample in pairs]
    right = [[pair[1] for pair in sample] for sample in pairs]
    return output_losses(left, right, slices)


def _loss(
    wanted: Sequence[Sequence[Any]],
    found: Sequence[Sequence[Any]],
    slices: Sequence[OutputSlices] | None,
) -> float:
    return max(_losses(wanted, found, slices), default=0.0)


def _where_finite(wanted: Any, got: Any) -> tuple[Any, Any]:
    if not isinstance(wanted, np.ndarray) or wanted.dtype.kind != "f":
        return wanted, got
    finite = np.isfinite(wanted)
    if finite.all() or np.shape(got) != wanted.shape:
        return wanted, got
    return np.where(finite, wanted, 0), np.where(finite, got, 0)


def _shaken(feed: Feed) -> Feed:
    """The feed with float inputs changed in about their last three bits."""
    generator = np.random.default_rng(0)
    return {
        name: (array * (1 + _SHAKEN * generator.standard_normal(array.shape))).astype(array.dtype)
        if isinstance(array, np.ndarray) and array.dtype.kind == "f"
        else array
        for name, array in feed.items()
    }


def _first(
    program: Program, found: Mapping[str, Array], wanted: Mapping[str, Array]
) -> tuple[ir.Node | None, bool]:
    limit = rounding(program)
    for node in program.graph:
        for output in node.outputs:
            name = output.name or ""
            if name not in found or name not in wanted or found[name].dtype.kind not in "fiub":
                continue
            theirs, ours = _where_finite(wanted[name], found[name])
            if noise_to_signal([[theirs]], [[ours]]) > limit:
                return node, _is_undefined(node, {**wanted, **found})
    return None, False


def _run_on_onnxruntime(program: Program, feed: Feed, names: Sequence[str]) -> dict[str, Array]:
    try:
        session = OrtSession(program.model, optimize=False, extra_outputs=list(names))
        return dict(zip(session.output_names, session.run_checked(feed), strict=True))
    except LoweringError:
        return {}


def _run_on_target(target: Target, program: Program, feed: Feed) -> dict[str, Array]:
    """Interior values of the program on the target, by making outputs of them."""
    shown = program.clone()
    known = {output.name for output in shown.graph.outputs}
    for node in shown.graph:
        for output in node.outputs:
            is_tensor = isinstance(output.type, ir.TensorType)
            if output.name and output.name not in known and is_tensor:
                shown.graph.outputs.append(output)
    shown.signature = signature_of(shown.model)
    try:
        values = target.lower(shown).run(feed)
    except QCompilerError:
        return {}
    return dict(zip(shown.signature.output_names, values, strict=True))


def _is_undefined(node: ir.Node, values: Mapping[str, Array]) -> bool:
    """Whether ONNX leaves the result open: Cast of floats that the integer type does not hold."""
    given, to = node.inputs[0] if node.inputs else None, node.outputs[0].dtype
    if not is_op(node, "Cast") or given is None or to is None or not to.is_integer():
        return False
    array = values.get(given.name or "")
    if array is None or array.dtype.kind != "f":
        return False
    limits = np.iinfo(to.numpy())
    return bool(np.any(~np.isfinite(array) | (array <= limits.min - 1) | (array >= limits.max + 1)))
