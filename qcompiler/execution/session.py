"""`OrtSession`: a model running on ONNX Runtime's CPU provider, with checked feeds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime as ort

from qcompiler.errors import LoweringError
from qcompiler.execution.feeds import normalize_feed
from qcompiler.execution.ort_values import has_foreign_types, run_with_values
from qcompiler.execution.packing import PackedModel
from qcompiler.execution.profile import KernelTime, read_profile, without_recording
from qcompiler.execution.session_packing import pack_for_session
from qcompiler.execution.timing import fastest
from qcompiler.files.scratch import scratch_folder, unfinished
from qcompiler.ir.signature import Feed, Signature, TensorSpec

Array = npt.NDArray[Any]
Source = ir.Model | PackedModel | bytes | Path | str
_FATAL = 4
_EXTERNAL_KEY = "session.optimized_model_external_initializers_file_name"
_FOLDER_KEY = "session.model_external_initializers_file_folder_path"
_STOP_SPINNING = "session.force_spinning_stop"
"""Threads spin while a model runs, but not on after it, on the cores of the one timed next: that
made runs of 9 to 14 ms take 19 to 27 ms on two cores; a session alone takes the same either way."""
_UNPACKED = "session.disable_prepacking"
_MOST_REPEATS = 10
_LARGE_BYTES = 1 << 30
"""Models above this are written by ONNX Runtime with their weights in a second file."""
_SECOND_FILE_BYTES = 1 << 26
"""The same where these weights are not wanted."""


class OrtSession:
    """A loaded model. Thread-safe.

    ONNX Runtime keeps a copy of the weights in a layout of its own; with `packed=False`, weights
    that lie in files (of a path, of a large `ir.Model`) are only mapped.

    Args:
        model: An IR model, a packed one, serialised bytes, or a file (external data is mapped).
        threads: Threads inside one kernel; None leaves the choice to ONNX Runtime.
        optimize: Run ONNX Runtime's graph optimizations (its default).
        extra_outputs: Values to return besides the model's outputs (IR models only).
        spinning: Let threads spin during a run (ONNX Runtime's default); off for sessions that run
            at the same time.
        early_outputs: Run each node as soon as its operands exist, so that what is reduced to a
            small output is freed early; by default ONNX Runtime leaves such nodes to the end.
        packed: Let kernels keep weights in a layout of their own (ONNX Runtime's default): a second
            copy of them, and products of few rows up to twice as fast.

    Raises:
        LoweringError: ONNX Runtime refuses the model; the text is its own.
    """

    def __init__(
        self,
        model: Source,
        threads: int | None = None,
        optimize: bool = True,
        extra_outputs: Sequence[str] = (),
        spinning: bool = True,
        early_outputs: bool = False,
        packed: bool = True,
    ) -> None:
        self._source = _prepare(model, extra_outputs)
        self._threads = threads
        self._optimize = optimize
        self._spinning = spinning
        self._early_outputs = early_outputs
        self.packed = packed
        self._ort = self._load(self._options())
        self.signature = _signature(self._ort)
        self._values = has_foreign_types(self.signature)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs in order, the extra ones last."""
        return self.signature.output_names

    def run(self, feed: Any, names: Sequence[str] | None = None) -> list[Any]:
        """Outputs in order (or those in `names`).

        Args:
            feed: See `normalize_feed`.
            names: Outputs to compute; only what they need runs in full.

        Raises:
            FeedError: The feed does not match the inputs.
            LoweringError: ONNX Runtime failed.
        """
        return self.run_checked(normalize_feed(self.signature, feed), names)

    def run_checked(self, feed: Feed, names: Sequence[str] | None = None) -> list[Any]:
        """As `run`, for a feed that `normalize_feed` has already seen."""
        try:
            if self._values:
                return run_with_values(self._ort, self.signature, feed, names)
            return list(self._ort.run(None if names is None else list(names), feed))
        except Exception as error:  # ORT has no common base class
            raise LoweringError(
                "ONNX Runtime failed to run the model",
                why=_text(error),
                fix="compare the feed with the model's inputs; run the float model by itself",
            ) from error

    def run_named(self, feed: Any, names: Sequence[str] | None = None) -> dict[str, Any]:
        """Outputs by name; raises as `run` does."""
        wanted = self.output_names if names is None else tuple(names)
        return dict(zip(wanted, self.run(feed, wanted), strict=True))

    def profile(
        self,
        feeds: Iterable[Any],
        repeats: int = 3,
        seconds: float = 0.0,
        threads: int | None = None,
    ) -> list[KernelTime]:
        """Seconds per kernel over the feeds, in a session of its own; its first run is left out.

        Args:
            feeds: What to run.
            repeats: How often the feeds are run at least; the fastest repetition of each counts.
            seconds: Go on repeating for this long (ten times at most), since short runs are noisy.
            threads: Threads inside one kernel; None takes those of this session.

        Returns:
            One entry per kernel of the optimized graph, in order of first execution.
        """
        checked = [normalize_feed(self.signature, feed) for feed in feeds]
        with scratch_folder() as folder:
            options = self._options(threads)
            options.enable_profiling = True
            options.profile_file_prefix = str(folder / "profile")
            session = self._load(options)
            for feed in checked[:1]:
                session.run(None, feed)
            end = time.monotonic() + seconds
            for number in range(max(repeats, _MOST_REPEATS if seconds else 0)):
                if number >= repeats and time.monotonic() > end:
                    break
                for feed in checked:
                    session.run(None, feed)
            found = read_profile(Path(session.end_profiling()), len(checked), skip=len(checked[:1]))
        if not any(each.inside for each in found):
            return found
        plain = self._load(self._options(threads))
        return without_recording(found, _plain_seconds(plain, checked, max(repeats, 1)))

    def optimized_model(self, weights: bool = True) -> ir.Model:
        """The graph that ONNX Runtime really runs, weights included, free of any file.

        Args:
            weights: False leaves tensors of more than a kilobyte in a file that is gone, where
                there are many; type and shape are known of them.
        """
        with scratch_folder() as folder:
            path = folder / "optimized.onnx"
            options = self._options(packed=False)
            options.optimized_model_filepath = str(path)
            if self.nbytes > (_LARGE_BYTES if weights else _SECOND_FILE_BYTES):
                options.add_session_config_entry(_EXTERNAL_KEY, "optimized.data")
            self._load(options)
            try:
                model = ir.load(path)
                return ir.external_data.load_to_model(model) if weights else model
            except Exception as error:  # onnx-ir and protobuf have many for a cut file
                raise unfinished(path, error) from error

    @property
    def nbytes(self) -> int:
        """Size of the model as given: graph and weights, about what a file of it takes."""
        source = self._source
        if isinstance(source, PackedModel):
            return source.nbytes
        return len(source) if isinstance(source, bytes) else source.stat().st_size

    def _options(self, threads: int | None = None, packed: bool = True) -> ort.SessionOptions:
        options = ort.SessionOptions()
        options.log_severity_level = _FATAL
        threads = threads or self._threads
        if threads is not None:
            options.intra_op_num_threads = threads
        if self._early_outputs:
            options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
            options.enable_mem_pattern = False  # patterns reserve memory as if nothing were freed
        if not self._spinning:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry(_STOP_SPINNING, "1")
        if not (packed and self.packed):
            options.add_session_config_entry(_UNPACKED, "1")
        if not self._optimize:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if isinstance(self._source, PackedModel):
            self._attach(options, self._source)
        return options

    def _attach(self, options: ort.SessionOptions, packed: PackedModel) -> None:
        names = list(packed.weights)
        values = [ort.OrtValue.ortvalue_from_numpy(_writable(packed.weights[n])) for n in names]
        if names:
            options.add_external_initializers(names, values)
        if packed.folder is not None:
            options.add_session_config_entry(_FOLDER_KEY, str(packed.folder))
        self._kept = (packed, values)  # ONNX Runtime reads these in place

    def _load(self, options: ort.SessionOptions) -> ort.InferenceSession:
        source = self._source
        raw = source.graph if isinstance(source, PackedModel) else source
        try:
            return ort.InferenceSession(
                raw if isinstance(raw, bytes) else str(raw),
                options,
                providers=["CPUExecutionProvider"],
            )
        except Exception as error:  # ORT has no common base class
            raise LoweringError(
                "ONNX Runtime cannot load the model",
                why=_text(error),
                fix="run the float model by itself; keep the layer that is named float (overrides)",
            ) from error


def _plain_seconds(session: ort.InferenceSession, feeds: Sequence[Feed], repeats: int) -> float:
    """Time of one run: the fastest repetition of each feed, averaged over the feeds."""
    spent = [fastest(partial(session.run, None, feed), repeats) for feed in feeds]
    return sum(spent) / max(len(feeds), 1)


def _prepare(model: Source, extra_outputs: Sequence[str]) -> PackedModel | bytes | Path:
    if isinstance(model, ir.Model):
        return pack_for_session(model, extra_outputs)
    if extra_outputs:
        raise LoweringError("extra outputs need an IR model", fix="load the model first")
    return Path(model) if isinstance(model, str) else model


def _writable(array: Array) -> Array:
    """A view that numpy lets out as a buffer; ONNX Runtime only reads it."""
    if array.flags.writeable:
        return array
    interface = dict(array.__array_interface__, data=(array.__array_interface__["data"][0], False))
    return np.asarray(_Buffer(array, interface))


class _Buffer:
    """Presents a read-only array as writable, and keeps it alive."""

    def __init__(self, owner: Array, interface: dict[str, Any]) -> None:
        self.owner = owner
        self.__array_interface__ = interface


def _signature(session: ort.InferenceSession) -> Signature:
    return Signature(
        tuple(_spec(each) for each in session.get_inputs()),
        tuple(_spec(each) for each in session.get_outputs()),
    )


_TYPES = {
    "float": ir.DataType.FLOAT,
    "double": ir.DataType.DOUBLE,
    **{each.name.lower(): each for each in ir.DataType if each.name not in ("FLOAT", "DOUBLE")},
}


def _spec(argument: Any) -> TensorSpec:
    """From ONNX Runtime's `NodeArg`: type `tensor(float)`, dims int, symbol or None."""
    kind = str(argument.type)
    for prefix, container in (("seq(", "sequence"), ("optional(", "optional")):
        if kind.startswith(prefix):
            element = kind.removeprefix("optional(").removeprefix("seq(").removeprefix("tensor(")
            return TensorSpec(argument.name, _TYPES.get(element.rstrip(")")), None, container)
    dtype = _TYPES.get(kind.removeprefix("tensor(").removesuffix(")"))
    shape = tuple(argument.shape) if kind.startswith("tensor(") and argument.shape else None
    if kind.startswith("tensor(") and shape is None:
        # No dims is both a scalar and an unknown rank here, so nothing is checked.
        return TensorSpec(argument.name, dtype, None)
    return TensorSpec(argument.name, dtype, shape)


def _text(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
