"""`ExecuTorchSession`: a `.pte` program in ExecuTorch's own runtime, with its trace of times."""

from __future__ import annotations

import importlib.util
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.errors import ConfigurationError, FeedError, LoweringError
from qcompiler.files.scratch import scratch_folder
from qcompiler.ir.signature import Feed, Signature

Array = npt.NDArray[Any]
METHOD = "forward"
_ROUNDS = 4
"""Runs per feed in a trace, the first of which packs weights and is not counted."""
_NANOSECONDS = 1e-9


@dataclass(frozen=True)
class OpTime:
    """One kernel of one run.

    Attributes:
        name: As XNNPACK names it, such as `Convolution (NHWC, QC8) DWConv #3`, or `OPERATOR_CALL`.
        delegate: Position of the delegate that ran it; None for ExecuTorch's own kernels.
        seconds: Mean over the feeds of the fastest run.
    """

    name: str
    delegate: int | None
    seconds: float


def available() -> bool:
    """Whether the package `executorch` is installed."""
    return importlib.util.find_spec("executorch") is not None


def traceable() -> bool:
    """Whether traces can be read: ExecuTorch's reader imports pandas."""
    return importlib.util.find_spec("pandas") is not None


def require() -> None:
    """Raises ConfigurationError without the package `executorch`."""
    if not available():
        raise ConfigurationError(
            "the package executorch is not installed", fix="see docs/executorch.md, Install"
        )


@contextmanager
def quietly() -> Iterator[None]:
    """Keeps back warnings of ExecuTorch and torchao, and the log handler that one adds."""
    level, handlers = logging.root.manager.disable, list(logging.root.handlers)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        logging.root.handlers[:] = handlers


class ExecuTorchSession:
    """A loaded program.

    Args:
        pte: The file's bytes.
        signature: Names of inputs and outputs in order.
        batch: Largest size of an open axis 0.
        length: Largest size of other open axes.

    Raises:
        ConfigurationError: The package `executorch` is not installed.
        LoweringError: ExecuTorch refuses the program.
    """

    def __init__(self, pte: bytes, signature: Signature, batch: int, length: int) -> None:
        require()
        self.pte = pte
        self._signature = signature
        self._limits = (batch, length)
        self._program = load_program(pte)
        self._method = _method(self._program)

    def run(self, feed: Feed) -> list[Array]:
        """Outputs in order.

        Raises:
            FeedError: An open dimension is larger than memory was planned for.
            LoweringError: ExecuTorch failed.
        """
        return _executed(self._method, self._inputs(feed))

    def _inputs(self, feed: Feed) -> list[Any]:
        import torch

        arrays = []
        for spec in self._signature.inputs:
            array = feed[spec.name]
            for axis, wanted in enumerate(spec.shape or ()):
                limit = self._limits[min(axis, 1)]
                if not isinstance(wanted, int) and array.shape[axis] > limit:
                    name = "length" if axis else "batch"
                    raise FeedError(
                        f"input '{spec.name}' has size {array.shape[axis]} in axis {axis}",
                        why=f"memory was planned for at most {limit}",
                        fix=f"compile for ExecuTorch({name}={array.shape[axis]})",
                    )
            arrays.append(torch.from_numpy(np.require(array, requirements=["C", "W"])))
        return arrays

    def trace(self, feeds: Sequence[Feed], seconds: float) -> list[OpTime]:
        """Time per kernel, from ExecuTorch's event tracer in a second copy of the program.

        Args:
            feeds: Each is run at least four times; the first run is not counted.
            seconds: Least time to run.
        """
        runs = [self._traced(self._inputs(feed), seconds / len(feeds)) for feed in feeds]
        names = [(each.name, each.delegate) for each in runs[0]]
        same = [run for run in runs if [(each.name, each.delegate) for each in run] == names]
        return [
            OpTime(name, delegate, float(np.mean([run[i].seconds for run in same])))
            for i, (name, delegate) in enumerate(names)
        ]

    def _traced(self, inputs: list[Any], seconds: float) -> list[OpTime]:
        """The fastest time of every kernel over the runs."""
        best: list[OpTime] | None = None
        end, rounds = time.monotonic() + seconds, 0
        program = load_program(self.pte, traced=True)
        method = _method(program)
        while rounds < _ROUNDS or time.monotonic() < end:
            _executed(method, inputs)
            found = _events(program)
            rounds += 1
            if rounds == 1:
                continue
            best = found if best is None else _fastest(best, found)
        return best or []


def load_program(pte: bytes, traced: bool = False) -> Any:
    """The program in ExecuTorch's runtime.

    Raises:
        LoweringError: Not a program, or damaged.
    """
    with quietly():
        from executorch.runtime import Runtime

        try:
            return Runtime.get().load_program(pte, enable_etdump=traced)
        except RuntimeError as error:
            raise LoweringError(
                "ExecuTorch cannot read the program", why=str(error), fix="save the artifact again"
            ) from error


def _method(program: Any) -> Any:
    try:
        return program.load_method(METHOD)
    except RuntimeError as error:
        raise LoweringError(
            "ExecuTorch refuses the program",
            why=str(error),
            fix="save the artifact again with the installed executorch",
        ) from error


def _executed(method: Any, inputs: list[Any]) -> list[Array]:
    try:
        return [each.numpy().copy() for each in method.execute(inputs)]
    except RuntimeError as error:
        raise LoweringError(
            "ExecuTorch failed to run the program",
            why=str(error),
            fix="compare the feed with the model's inputs",
        ) from error


def _events(program: Any) -> list[OpTime]:
    """Kernels of the last run. XNNPACK's come before the call of the delegate that ran them."""
    with quietly():
        from executorch.devtools.etdump.serialize import deserialize_from_etdump_flatcc

    with scratch_folder() as folder:
        path = folder / "trace.etdp"
        program.write_etdump_result_to_file(str(path), str(folder / "unused.bin"))
        with quietly():
            dump = deserialize_from_etdump_flatcc(path.read_bytes())
    found: list[OpTime] = []
    inside: list[tuple[str, float]] = []
    delegates = 0
    for event in dump.run_data[-1].events or ():
        each = event.profile_event
        if each is None:
            continue
        spent = (each.end_time - each.start_time) * _NANOSECONDS
        if each.delegate_debug_id_str or (each.delegate_debug_id_int or -1) >= 0:
            inside.append((each.delegate_debug_id_str or each.name or "", spent))
        elif each.name == "DELEGATE_CALL":
            found += [OpTime(name, delegates, time_) for name, time_ in inside]
            inside, delegates = [], delegates + 1
        elif each.name == "OPERATOR_CALL":
            found.append(OpTime(each.name, None, spent))
    return found


def _fastest(one: list[OpTime], other: list[OpTime]) -> list[OpTime]:
    if [each.name for each in one] != [each.name for each in other]:
        return one
    return [a if a.seconds <= b.seconds else b for a, b in zip(one, other, strict=True)]
