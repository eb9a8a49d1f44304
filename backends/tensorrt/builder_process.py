"""Runs NVIDIA's parser and ahead-of-time builder; started by `gate`, one process for many models.

A bad graph can crash the builder, so it never runs inside the user's process. Jobs come as one
JSON object per line on standard input, answers leave as one per line on standard output. The
library keeps the first logger of a process, so there is exactly one.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

MODULES = ("tensorrt_rtx", "tensorrt_rtx_bindings")
"""Names under which NVIDIA's wheels install the same library."""


def load_library() -> Any:
    """The TensorRT-RTX module.

    Raises:
        ImportError: No wheel is installed.
    """
    for name in MODULES:
        if importlib.util.find_spec(name) is not None:
            return importlib.import_module(name)
    raise ImportError("no TensorRT-RTX wheel is installed")


def make_logger(trt: Any) -> Any:
    """A logger that keeps (severity, message) pairs in its list `lines`."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # the library ships no types
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[tuple[str, str]] = []

        def log(self, severity: Any, message: str) -> None:
            self.lines.append((str(severity).rpartition(".")[2], message))

    return Logger()


def answer(trt: Any, logger: Any, job: Mapping[str, Any]) -> dict[str, Any]:
    """Parses and builds one model.

    Args:
        trt: The library.
        logger: The process's only logger.
        job: `path`, `compute_capability`, and `shapes`: input -> [min, opt, max] dimensions.

    Returns:
        `parsed`, `built`, `nbytes`, `errors`, `warnings`, `layers` (the builder's text).
    """
    logger.lines.clear()
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    parsed = bool(parser.parse_from_file(job["path"]))
    engine = _build(trt, builder, network, job) if parsed else None
    return {
        "parsed": parsed,
        "built": engine is not None,
        "nbytes": int(engine.nbytes) if engine is not None else 0,
        "errors": _messages(logger, "ERROR", "INTERNAL_ERROR"),
        "warnings": _messages(logger, "WARNING"),
        "layers": "".join(text for _, text in logger.lines if text.startswith("Layers:")),
    }


def _build(trt: Any, builder: Any, network: Any, job: Mapping[str, Any]) -> Any:
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.num_compute_capabilities = 1
    capability = getattr(trt.ComputeCapability, f"SM{job['compute_capability']}")
    config.set_compute_capability(capability, 0)
    profile = builder.create_optimization_profile()
    dynamic = False
    for index in range(network.num_inputs):
        dynamic |= _bound(profile, network.get_input(index), job["shapes"])
    if dynamic:
        config.add_optimization_profile(profile)
    return builder.build_serialized_network(network, config)


def _bound(profile: Any, tensor: Any, shapes: Mapping[str, Sequence[Sequence[int]]]) -> bool:
    """Gives a dynamic input its smallest, usual and largest shape; False for a static one."""
    known = list(tensor.shape)
    if -1 not in known:
        return False
    low, usual, high = shapes.get(tensor.name) or _default_shapes(known)
    profile.set_shape(tensor.name, low, usual, high)
    return True


def _default_shapes(dims: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """Batches of 1 to 8, other free dimensions of 16 to 128."""
    bounds = [(1, 4, 8) if axis == 0 else (16, 64, 128) for axis in range(len(dims))]
    picked = [bound if dim < 0 else (dim,) * 3 for dim, bound in zip(dims, bounds, strict=True)]
    low, usual, high = (list(each) for each in zip(*picked, strict=True))
    return low, usual, high


def _messages(logger: Any, *severities: str) -> list[str]:
    return [text for severity, text in logger.lines if severity in severities]


def main() -> None:
    """Answers jobs until standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # the library may print to stdout itself
    trt = load_library()
    logger = make_logger(trt)
    for line in sys.stdin:
        answers.write(json.dumps(answer(trt, logger, json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
