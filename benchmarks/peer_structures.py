"""Structures of other quantizers' tests: what runs in integers, beside ONNX Runtime's quantizer.

    python -m benchmarks.peer_structures [--json FILE] [NAMES...]

Each structure (`peer_cases`) is compiled with `scheme="int8"` and quantized by `quantize_static`
(QDQ, u8, per channel, after `quant_pre_process`). Both files are counted in the graph that ONNX
Runtime makes of them. Behind is: refused where the peer quantizes, or fewer operators in integers
and more left in float. A peer's file that does not run, or keeps less than 10 dB, is none.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnxruntime.quantization import QuantType

import qcompiler as qc
from benchmarks.peer_cases import structures
from benchmarks.peers import static
from qcompiler.backends.onnxruntime.kernels import is_integer_kernel
from qcompiler.errors import QCompilerError
from qcompiler.ir.text import from_text

Feed = dict[str, np.ndarray]
_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
_LEAST_DB = 10.0


@dataclass(frozen=True)
class Count:
    """Operators of an optimized graph: those on integers and those left in float."""

    integer: int
    floating: int
    decibels: float


@dataclass(frozen=True)
class Result:
    """One structure; a count is None with the reason where there is nothing to count."""

    name: str
    ours: Count | None
    peer: Count | None
    ours_reason: str = ""
    peer_reason: str = ""

    @property
    def behind(self) -> bool:
        if self.peer is None or self.peer.integer == 0 or self.peer.decibels < _LEAST_DB:
            return False
        if self.ours is None:
            return True
        fewer = self.ours.integer < self.peer.integer
        return fewer and self.ours.floating > self.peer.floating


def compared(name: str, text: str, folder: Path) -> Result:
    """Counts of both files.

    Args:
        name: Of the structure.
        text: ONNX text with one float input `x`.
        folder: Where the files go.
    """
    program = from_text(text)
    shape = program.graph.inputs[0].shape
    assert shape is not None
    dims = [int(each) for each in shape.numpy()]
    rng = np.random.default_rng(0)
    feeds: list[Feed] = [{"x": rng.standard_normal(dims).astype(np.float32)} for _ in range(3)]
    source = folder / "float.onnx"
    onnx.save(ir.to_proto(program.model), source)
    wanted = _session(source).run(None, feeds[0])
    ours, why_ours = _ours(source, feeds, folder, wanted)
    peer, why_peer = _peer(source, feeds, folder, wanted)
    return Result(name, ours, peer, why_ours, why_peer)


def _ours(
    source: Path, feeds: list[Feed], folder: Path, wanted: list[Any]
) -> tuple[Count | None, str]:
    try:
        compiled = qc.compile(source, "onnxruntime", feeds, scheme="int8", recipe="fast")
    except QCompilerError as error:
        return None, f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return _count(compiled.save(folder / "ours.onnx"), feeds[0], wanted), ""


def _peer(
    source: Path, feeds: list[Feed], folder: Path, wanted: list[Any]
) -> tuple[Count | None, str]:
    try:
        path = static(QuantType.QUInt8)(source, feeds, folder / "peer.onnx")
        return _count(path, feeds[0], wanted), ""
    except Exception as error:  # noqa: BLE001 - a peer's failure is a result
        return None, f"{type(error).__name__}: {error}"[:120]


def _session(path: Path, optimized: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _count(path: Path, feed: Feed, wanted: list[Any]) -> Count:
    optimized = path.with_suffix(".optimized.onnx")
    found = _session(path, optimized).run(None, feed)
    integer, floating = _operators(onnx.load(optimized).graph.node)
    return Count(integer, floating, _decibels(wanted, found))


def _operators(nodes: Iterable[onnx.NodeProto]) -> tuple[int, int]:
    """Operators on integers (kernels, and whatever else is given integers), and all others."""
    integers: set[str] = set()
    counts = [0, 0]
    for node in nodes:
        moved = any(name in integers for name in node.input)
        if node.op_type in _CONVERSIONS:
            integers.update(node.output if node.op_type != "DequantizeLinear" else ())
        elif node.op_type not in ("Sum", "Cast") or len(node.input) > 1:
            works = is_integer_kernel(node) or moved
            counts[0 if works else 1] += 1
            integers.update(node.output if works and "Float" not in node.op_type else ())
    return counts[0], counts[1]


def _decibels(wanted: list[Any], found: list[Any]) -> float:
    worst = float("inf")
    for float_one, other in zip(wanted, found, strict=True):
        a, b = np.asarray(float_one, np.float64), np.asarray(other, np.float64)
        noise = float(np.sum((a - b) ** 2))
        if noise:
            worst = min(worst, 10 * float(np.log10(max(float(np.sum(a**2)), 1e-30) / noise)))
    return worst


def results(names: Iterable[str] = ()) -> Iterator[Result]:
    """Results of all structures, or of those whose name holds one of the words."""
    words = list(names)
    for name, text in structures():
        if not words or any(word in name for word in words):
            with tempfile.TemporaryDirectory() as folder:
                yield compared(name, text, Path(folder))


def _line(each: Result) -> str:
    def shown(count: Count | None, reason: str) -> str:
        if count is None:
            return reason
        return f"{count.integer} in integers, {count.floating} in float, {count.decibels:.1f} dB"

    mark = "BEHIND" if each.behind else "      "
    ours, peer = shown(each.ours, each.ours_reason), shown(each.peer, each.peer_reason)
    return f"{mark} {each.name:30s} {ours:44s} | {peer}"


def main() -> None:
    """Prints a line per structure and the sums."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = []
    for each in results(given.names):
        found.append(each)
        print(_line(each), flush=True)
    behind = [each.name for each in found if each.behind]
    print(f"{len(found)} structures, {len(behind)} behind: {', '.join(behind)}")
    if given.json:
        given.json.write_text(json.dumps([asdict(each) for each in found], indent=1))


if __name__ == "__main__":
    main()
