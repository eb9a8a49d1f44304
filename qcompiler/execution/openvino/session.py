"""`OpenVinoSession`: an ONNX model compiled for and running on OpenVINO's CPU plugin."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.errors import ConfigurationError, FeedError, LoweringError
from qcompiler.execution.feeds import normalize_feed
from qcompiler.execution.openvino.float_faults import wide
from qcompiler.execution.session import OrtSession
from qcompiler.files.scratch import scratch_folder
from qcompiler.ir.signature import Feed, Signature
from qcompiler.ir.walk import all_nodes, is_op, is_read
from qcompiler.target.artifact import PROFILE_THREADS

Array = npt.NDArray[Any]
Shapes = dict[str, tuple[int, ...]]
"""Shape by input name."""
_MOST_SHAPES = 8
"""Shapes that a session with fixed shapes stays compiled for."""


@dataclass(frozen=True)
class RuntimeLayer:
    """One node of OpenVINO's executable graph.

    Attributes:
        kind: Layer type such as `Convolution`, `FullyConnected`, `Subgraph`.
        precision: Runtime precision such as `u8`, `i8`, `f32`.
        origins: Names of the layers that it was made from.
    """

    kind: str
    precision: str
    origins: tuple[str, ...]


@dataclass(frozen=True)
class LayerTime:
    """Seconds of one layer in one run: the fastest repetition per feed, averaged over feeds."""

    layer: RuntimeLayer
    seconds: float


def available() -> bool:
    """Whether the package `openvino` is installed."""
    return importlib.util.find_spec("openvino") is not None


class OpenVinoSession:
    """A compiled model. Thread-safe: runs come one after the other, each is given all threads.

    Args:
        model: The ONNX model.
        signature: Names and types of inputs and outputs.
        threads: Threads of one inference; None leaves the choice to OpenVINO.
        fixed_shapes: Compile for the shapes of each feed (see `faults`, OV-F2).
        as_written: Compute Q/DQ in float where they stand, without the transformations that have
            the faults of `faults`.
        floats: Type of what is computed in float: `f32`, or `bf16`.

    Raises:
        ConfigurationError: The package `openvino` is not installed.
        LoweringError: OpenVINO refuses the model; the text is its own.
    """

    def __init__(
        self,
        model: ir.Model,
        signature: Signature,
        threads: int | None = None,
        fixed_shapes: bool = False,
        as_written: bool = False,
        floats: str = "f32",
    ) -> None:
        if not available():
            raise ConfigurationError(
                "the package openvino is not installed", fix="pip install qcompiler[openvino]"
            )
        self.signature = signature
        self._model = model
        self._hints = _hints(threads, as_written, floats)
        self._threads = threads
        self._fixed = fixed_shapes and any(
            value.shape is None or not value.shape.is_static() for value in model.graph.inputs
        )
        self._compiled = _compiled(model, self._hints)
        self._ports = ports_of(model, self._compiled.inputs)
        self._request = self._compiled.create_infer_request()
        self._running = threading.Lock()  # outputs lie in the request until the next run
        self._requests: dict[Hashable, Any] = {}
        self._stale = not self._fixed and any(is_op(node, "If") for node in all_nodes(model))
        self._ran: set[Hashable] = set()
        self._empty: OrtSession | None = None

    @property
    def precision(self) -> str:
        """Type that float values are computed in, as OpenVINO has it: `f32` or `bf16`."""
        return str(self._hints["INFERENCE_PRECISION_HINT"])

    def run(self, feed: Any) -> list[Array]:
        """Outputs in order.

        Raises:
            FeedError: The feed does not match the inputs.
            LoweringError: OpenVINO failed.
        """
        return self.run_checked(normalize_feed(self.signature, feed))

    def run_checked(self, feed: Feed) -> list[Array]:
        """As `run`, for a feed that `normalize_feed` has already seen."""
        _require_narrow(feed)
        if not all(array.size for array in feed.values()):
            return self._reference().run_checked(feed)
        with self._running:
            return self._run_alone(feed)

    def _run_alone(self, feed: Feed) -> list[Array]:
        request = self._request_for(feed)
        try:
            for _ in range(self._runs(feed)):
                request.infer(_placed(feed, self._ports))
        except (RuntimeError, ValueError) as error:  # the latter for types of 4 bits
            raise LoweringError(
                "OpenVINO failed to run the model",
                why=str(error),
                fix="compare the feed with the model's inputs; run the float model by itself",
            ) from error
        count = len(self._compiled.outputs)
        return [np.array(request.get_output_tensor(i).data) for i in range(count)]

    def _runs(self, feed: Feed) -> int:
        """Two for sizes not run before in a model with an If (OV-R19, docs/openvino.md).

        While it makes room for them, OpenVINO computes what reads an If in memory of others.
        """
        if not self._stale:
            return 1
        key = tuple(feed[name].shape for name in sorted(feed))
        if key in self._ran:
            return 1
        self._ran.add(key)
        return 2

    def _reference(self) -> OrtSession:
        """Runs feeds without elements, where OpenVINO gives the shapes of the run before or fails.

        ONNX Runtime without its optimizer does what the graph says; there is hardly a number in it.
        """
        if self._empty is None:
            self._empty = OrtSession(self._model, optimize=False)
        return self._empty

    def _request_for(self, feed: Feed) -> Any:
        """The request of the model as it is, or of one compiled for the feed's shapes."""
        if not self._fixed:
            return self._request
        shapes = {name: feed[name].shape for name in sorted(feed)}
        key = tuple(shapes.items())
        if key not in self._requests:
            if len(self._requests) >= _MOST_SHAPES:
                self._requests.pop(next(iter(self._requests)))
            compiled = _compiled(self._model, self._hints, shapes)
            self._requests[key] = compiled.create_infer_request()
        return self._requests[key]

    def layers(self) -> tuple[RuntimeLayer, ...]:
        """The executable graph, in execution order."""
        return tuple(_layers(self._compiled).values())

    def profile(self, feeds: Sequence[Feed], seconds: float = 0.1) -> list[LayerTime]:
        """Time per layer, from OpenVINO's counters.

        They cost time themselves, so they are on in a second copy of the model only.

        Args:
            feeds: Checked feeds; each is run at least three times after a warm-up.
            seconds: Least time to run.
        """
        threads = self._threads or PROFILE_THREADS
        counted = self._hints | {"INFERENCE_NUM_THREADS": threads, "PERF_COUNT": True}
        compiled = _compiled(self._model, counted)
        request, layers = compiled.create_infer_request(), _layers(compiled)
        fastest: dict[tuple[str, int], float] = {}
        end, rounds = time.monotonic() + seconds, 0
        while rounds < 4 or time.monotonic() < end:
            for index, feed in enumerate(feeds):
                request.infer(_placed(feed, self._ports))
                for each in request.get_profiling_info() if rounds else ():
                    spent, key = each.real_time.total_seconds(), (each.node_name, index)
                    fastest[key] = min(spent, fastest.get(key, spent))
            rounds += 1
        totals: dict[str, float] = {}
        for (name, _), spent in fastest.items():
            totals[name] = totals.get(name, 0.0) + spent / len(feeds)
        return [LayerTime(layers[name], spent) for name, spent in totals.items() if name in layers]


def ports_of(model: ir.Model, ports: Sequence[Any]) -> tuple[str, ...]:
    """Which input of the model each of OpenVINO's ports is, in the order of the ports.

    OpenVINO drops inputs that nothing reads, and gives a port the name of a value further on where
    nothing is computed in between (Dropout, SequenceAt). Such ports stand in the model's order.

    Args:
        model: What was compiled.
        ports: Inputs of OpenVINO's model; `names` is a set of texts.

    Raises:
        LoweringError: The ports without a name of the model's are not as many as its other inputs.
    """
    declared = [value.name or "" for value in model.graph.inputs]
    named = [next((name for name in declared if name in port.names), None) for port in ports]
    read = [value.name or "" for value in model.graph.inputs if is_read(value)]
    left = [name for name in read if name not in named]
    if len(left) != named.count(None):
        raise LoweringError(
            f"OpenVINO reads {len(ports)} inputs where the model has {len(read)}",
            why=f"it knows none of {left or read} by name",
            fix="choose the target onnxruntime",
        )
    others = iter(left)
    return tuple(next(others) if name is None else name for name in named)


def _placed(feed: Feed, ports: Sequence[str]) -> dict[int, Array]:
    return {place: feed[name] for place, name in enumerate(ports)}


def _require_narrow(feed: Feed) -> None:
    """Raises FeedError for integers that need more than the 32 bits that OpenVINO computes with."""
    for name, array in feed.items():
        if array.dtype in (np.int64, np.uint64, np.uint32) and wide(array):
            raise FeedError(
                f"input '{name}' holds integers of more than 32 bits",
                why="OpenVINO's CPU plugin computes 64-bit integers with 32 bits",
                fix="choose the target onnxruntime",
            )


def _compiled(model: ir.Model, settings: dict[str, Any], shapes: Shapes | None = None) -> Any:
    import openvino

    core = openvino.Core()
    with scratch_folder() as folder:
        path = folder / "model.onnx"
        # External data has no limit of 2 GiB; OpenVINO maps it while it compiles.
        ir.save(model.clone(), path, external_data="model.data")
        try:
            read = core.read_model(path)
            if shapes:
                names = ports_of(model, read.inputs)
                read.reshape({i: list(shapes[name]) for i, name in enumerate(names)})
            return core.compile_model(read, "CPU", settings)
        except RuntimeError as error:
            raise LoweringError(
                "OpenVINO refuses the model",
                why=str(error),
                fix="run the float model by itself; keep the layer that is named float (overrides)",
            ) from error


def _layers(compiled: Any) -> dict[str, RuntimeLayer]:
    """The executable graph by layer name, in execution order."""
    nodes = compiled.get_runtime_model().get_ordered_ops()
    return {node.get_friendly_name(): _layer(node.get_rt_info()) for node in nodes}


def _hints(threads: int | None, as_written: bool, floats: str) -> dict[str, Any]:
    """The type of float values is said: on some processors OpenVINO's own choice is bfloat16."""
    hints: dict[str, Any] = {"INFERENCE_PRECISION_HINT": floats, "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        hints["INFERENCE_NUM_THREADS"] = threads
    if as_written:
        hints |= {"LP_TRANSFORMS_MODE": "NO", "SNIPPETS_MODE": "DISABLE"}
    return hints


def _layer(info: Any) -> RuntimeLayer:
    texts = {key: str(value.value) if hasattr(value, "value") else str(value)
             for key, value in info.items()}  # fmt: skip
    return RuntimeLayer(
        kind=texts.get("layerType", ""),
        precision=texts.get("runtimePrecision", ""),
        origins=tuple(each for each in texts.get("originalLayersNames", "").split(",") if each),
    )
