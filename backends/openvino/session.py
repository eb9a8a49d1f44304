"""`OpenVinoSession`: an ONNX model compiled for and running on OpenVINO's CPU plugin."""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.errors import ConfigurationError, LoweringError
from qcompiler.execution.feeds import normalize_feed
from qcompiler.ir.signature import Feed, Signature

Array = npt.NDArray[Any]


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


def available() -> bool:
    """Whether the package `openvino` is installed."""
    return importlib.util.find_spec("openvino") is not None


class OpenVinoSession:
    """A compiled model.

    Args:
        model: The ONNX model.
        signature: Names and types of inputs and outputs.
        threads: Threads of one inference; None leaves the choice to OpenVINO.

    Raises:
        ConfigurationError: The package `openvino` is not installed.
        LoweringError: OpenVINO refuses the model; the text is its own.
    """

    def __init__(self, model: ir.Model, signature: Signature, threads: int | None = None) -> None:
        if not available():
            raise ConfigurationError(
                "the package openvino is not installed", fix="pip install qcompiler[openvino]"
            )
        import openvino

        self.signature = signature
        core = openvino.Core()
        with tempfile.TemporaryDirectory(prefix="qcompiler-") as folder:
            path = Path(folder) / "model.onnx"
            # External data has no limit of 2 GiB; OpenVINO maps it while it compiles.
            ir.save(model.clone(), path, external_data="model.data")
            try:
                self._compiled = core.compile_model(core.read_model(path), "CPU", _hints(threads))
            except RuntimeError as error:
                raise LoweringError("OpenVINO refuses the model", why=str(error)) from error
        self._request = self._compiled.create_infer_request()

    def run(self, feed: Any) -> list[Array]:
        """Outputs in order.

        Raises:
            FeedError: The feed does not match the inputs.
            LoweringError: OpenVINO failed.
        """
        return self.run_checked(normalize_feed(self.signature, feed))

    def run_checked(self, feed: Feed) -> list[Array]:
        """As `run`, for a feed that `normalize_feed` has already seen."""
        known = {name for port in self._compiled.inputs for name in port.names}
        try:
            self._request.infer({name: feed[name] for name in feed if name in known})
        except RuntimeError as error:
            raise LoweringError("OpenVINO failed to run the model", why=str(error)) from error
        count = len(self._compiled.outputs)
        return [np.array(self._request.get_output_tensor(i).data) for i in range(count)]

    def layers(self) -> tuple[RuntimeLayer, ...]:
        """The executable graph, in execution order."""
        nodes = self._compiled.get_runtime_model().get_ordered_ops()
        return tuple(_layer(node.get_rt_info()) for node in nodes)


def _hints(threads: int | None) -> dict[str, Any]:
    """Float operators compute in float32, so that only quantization changes numbers."""
    hints: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        hints["INFERENCE_NUM_THREADS"] = threads
    return hints


def _layer(info: Any) -> RuntimeLayer:
    texts = {key: str(value.value) if hasattr(value, "value") else str(value)
             for key, value in info.items()}  # fmt: skip
    return RuntimeLayer(
        kind=texts.get("layerType", ""),
        precision=texts.get("runtimePrecision", ""),
        origins=tuple(each for each in texts.get("originalLayersNames", "").split(",") if each),
    )
