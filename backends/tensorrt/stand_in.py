"""What runs a file for TensorRT on a machine without a GPU, and under which name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import onnx_ir as ir

from qcompiler.errors import LoweringError
from qcompiler.execution.openvino.float_faults import mended
from qcompiler.execution.openvino.session import OpenVinoSession, available
from qcompiler.execution.openvino.stored_floats import float_constants
from qcompiler.execution.session import OrtSession
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed

if TYPE_CHECKING:
    from qcompiler.backends.tensorrt.target import TensorRT

ORT, OPENVINO = "onnxruntime", "openvino"


@dataclass(frozen=True, eq=False)
class StandIn:
    """A runtime in TensorRT's place.

    Attributes:
        name: In words, for reports.
        run: Outputs for a checked feed.
    """

    name: str
    run: Callable[[Feed], list[npt.NDArray[Any]]]


def open_stand_in(target: TensorRT, program: Program, model: ir.Model) -> StandIn:
    """The stand-in that the target asks for; `auto` is OpenVINO where that can run the file.

    Both run what the graph says, in float between Q and DQ, whose steps are those of integers.
    OpenVINO is faster; its integer kernels are wrong for some of these placements, which are not
    its own (`openvino.faults`), so it makes none.

    Args:
        target: Options of the compilation.
        program: The placed program, in float32.
        model: The same in the base type.

    Raises:
        ConfigurationError: OpenVINO is asked for and not installed.
        LoweringError: The stand-in refuses the model.
    """
    if target.stand_in == OPENVINO:
        return _openvino(program)
    if target.stand_in == ORT or not _fits_openvino(target):
        return _onnxruntime(target, program, model)
    try:
        return _openvino(program)
    except LoweringError:  # an operator that OpenVINO does not have
        return _onnxruntime(target, program, model)


def _openvino(program: Program) -> StandIn:
    shown = mended(float_constants(program))
    session = OpenVinoSession(shown.model, shown.signature, as_written=True)
    return StandIn("OpenVINO (as written)", session.run_checked)


def _onnxruntime(target: TensorRT, program: Program, model: ir.Model) -> StandIn:
    # ONNX Runtime 1.31 breaks DQ(int8) -> Reshape at opset 21 when it optimizes (PR 28144 adds
    # an output_dtype that issue 25526 rejects); unoptimized it runs what the graph says.
    # Its CPU kernels have no bfloat16: there the float32 form is run.
    runnable = program.model if target.base == "bf16" else model
    session = OrtSession(runnable, optimize=False)
    return StandIn("ONNX Runtime (unoptimized)", session.run_checked)


def _fits_openvino(target: TensorRT) -> bool:
    """OpenVINO has kernels for int8 beside float32; ONNX Runtime runs the rest."""
    read = {form.activation.numbers for form in target.capabilities.forms if form.activation}
    return read == {"int8"} and target.base == "float32" and available()
