"""The gate: NVIDIA's own ONNX parser and ahead-of-time builder (TensorRT-RTX), without a GPU.

What passes was "accepted by NVIDIA's parser and compiled ahead of time by TensorRT-RTX". That is
no run: it says nothing about speed or about accuracy on a GPU. Needs the optional wheels of
`qcompiler[tensorrt-check]`, which are under NVIDIA's own licence.

Source: TensorRT-RTX documentation, inference-library/cpu-engines.
"""

from __future__ import annotations

import importlib.util
import json
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import onnx
import onnx_ir as ir

from qcompiler.backends.tensorrt import builder_process
from qcompiler.backends.tensorrt.builder_process import MODULES
from qcompiler.backends.tensorrt.layers import CompiledLayer, compiled_types, parse_layers
from qcompiler.errors import ConfigurationError, LoweringError
from qcompiler.files.scratch import scratch_folder

WORDING = "accepted by NVIDIA's parser and compiled ahead of time by TensorRT-RTX"
CAPABILITIES = (75, 80, 86, 89, 120, 121)
"""Compute capabilities (SM numbers) that TensorRT-RTX 1.7 builds for on a CPU."""

Shapes = Mapping[str, Sequence[Sequence[int]]]
_CONVOLUTIONS = ("Conv", "ConvTranspose")
_PRODUCTS = ("MatMul", "Gemm")


@dataclass(frozen=True)
class GateResult:
    """What NVIDIA's parser and builder said about one model.

    Attributes:
        parsed: The parser accepted the graph.
        built: The builder compiled it ahead of time.
        compute_capability: SM number it was compiled for.
        layers: ONNX node name -> types it was compiled for, such as `Int8`.
        compiled: The compiled layers themselves.
        errors: Messages of severity error; a crash of the builder is one.
        warnings: Messages of severity warning.
        nbytes: Size of the compiled plan in bytes.
    """

    parsed: bool
    built: bool
    compute_capability: int
    layers: Mapping[str, str] = field(default_factory=dict)
    compiled: tuple[CompiledLayer, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    nbytes: int = 0

    def runs_in(self, node: str, dtype: str = "Int8") -> bool:
        """Whether a Conv or MatMul node was compiled with operands of this type."""
        return self.layers.get(node, "") == dtype or self.layers.get(node, "").endswith(
            f" x {dtype}"
        )

    def summary(self, model: onnx.ModelProto, dtype: str = "Int8") -> str:
        """`N of N convolutions and M of M matmuls compiled with Int8 inputs`, or the refusal."""
        if not self.built:
            step = "compile" if self.parsed else "parse"
            reason = self.errors[0] if self.errors else "no reason given"
            return f"TensorRT-RTX did not {step} it: {reason}"
        convs = self._counts(model, _CONVOLUTIONS, dtype)
        products = self._counts(model, _PRODUCTS, dtype)
        return (
            f"{WORDING}; {convs[0]} of {convs[1]} convolutions and {products[0]} of "
            f"{products[1]} matmuls compiled with {dtype} inputs"
        )

    def _counts(self, model: onnx.ModelProto, ops: Sequence[str], dtype: str) -> tuple[int, int]:
        names = [node.name for node in model.graph.node if node.op_type in ops]
        return sum(self.runs_in(name, dtype) for name in names), len(names)


def available() -> bool:
    """Whether NVIDIA's wheels are installed."""
    return any(importlib.util.find_spec(name) is not None for name in MODULES)


def check(
    model: onnx.ModelProto | ir.Model | Path | str,
    compute_capability: int = 86,
    shapes: Shapes | None = None,
    timeout: float = 300.0,
) -> GateResult:
    """Parses and builds one model in a process of its own.

    Args:
        model: A model, or the path of one (needed for external data).
        compute_capability: SM number, one of `CAPABILITIES`.
        shapes: Input name -> [smallest, usual, largest] shape, for inputs with free dimensions.
        timeout: Seconds after which the builder is given up.

    Raises:
        ConfigurationError: The wheels are absent, or an unknown compute capability.
        LoweringError: The builder did not answer in time.
    """
    with Gate(compute_capability, timeout) as gate:
        return gate.check(model, shapes)


class Gate:
    """A builder process that takes one model after the other; a context manager.

    Raises:
        ConfigurationError: The wheels are absent, or an unknown compute capability.
    """

    def __init__(self, compute_capability: int = 86, timeout: float = 300.0) -> None:
        if compute_capability not in CAPABILITIES:
            raise ConfigurationError(
                f"TensorRT-RTX does not build for SM {compute_capability}",
                fix=f"choose one of {CAPABILITIES}",
            )
        if not available():
            raise ConfigurationError(
                "the TensorRT-RTX wheels are not installed",
                fix="pip install qcompiler[tensorrt-check]",
            )
        self.compute_capability = compute_capability
        self.timeout = timeout
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the builder process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def check(
        self,
        model: onnx.ModelProto | ir.Model | Path | str,
        shapes: Shapes | None = None,
        compute_capability: int | None = None,
    ) -> GateResult:
        """Parses and builds one model; see the function `check`."""
        capability = compute_capability or self.compute_capability
        if isinstance(model, (Path, str)):
            return self._ask(Path(model).resolve(), capability, shapes or {})
        with scratch_folder() as folder:
            path = folder / "model.onnx"
            if isinstance(model, ir.Model):
                ir.save(model, path)
            else:
                onnx.save(model, path)
            return self._ask(path, capability, shapes or {})

    def _ask(self, path: Path, capability: int, shapes: Shapes) -> GateResult:
        job = {
            "path": str(path),
            "compute_capability": capability,
            "shapes": {name: [list(dims) for dims in each] for name, each in shapes.items()},
        }
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], self.timeout)[0]:
            self.close()
            raise LoweringError(
                f"TensorRT-RTX did not answer within {self.timeout:g} s",
                fix="give a longer timeout",
            )
        line = process.stdout.readline()
        if not line:
            return self._crashed(capability)
        result = _result(json.loads(line), capability)
        if not result.built:
            self.close()  # a failed build leaves state behind that changes the next one (measured)
        return result

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", builder_process.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        return self._process

    def _crashed(self, capability: int) -> GateResult:
        process, self._process = self._process, None
        assert process is not None
        process.communicate()
        code = process.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return GateResult(False, False, capability, errors=(f"the builder crashed: {how}",))


def _result(answer: Mapping[str, Any], capability: int) -> GateResult:
    compiled = parse_layers(answer["layers"])
    return GateResult(
        parsed=answer["parsed"],
        built=answer["built"],
        compute_capability=capability,
        layers=compiled_types(compiled),
        compiled=compiled,
        errors=_unique(answer["errors"]),
        warnings=_unique(answer["warnings"]),
        nbytes=answer["nbytes"],
    )


def _unique(messages: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(messages))
