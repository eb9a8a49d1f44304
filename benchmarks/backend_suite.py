"""The ONNX backend suite, compiled for a target, against the outputs that the suite expects.

    python -m benchmarks.backend_suite --target onnxruntime --scheme float32 [--constant]
        [--sample 40] [--seconds 60] [--jobs 2] [--list wrong foreign] [--json FILE] [NAMES...]

Every model is compiled and run in a worker process with limited time and memory, so that a death is
a result like any other. The classes:

- `right`: the expected values (within the suite's tolerance; for schemes that quantize: shape,
  type, and float values within a tenth of their norm), and `verify` is ok;
- `wrong`: other values. A fault only where ONNX Runtime is right on the same model;
- `nothing`: no op that the target quantizes, which fixed schemes refuse;
- `refused`: another `QCompilerError`; `in a pass`: a pass raised something foreign;
- `foreign`: an exception that is not ours; `verify`: the integers differ from the reference;
- `died`: the process ended or was stopped after `--seconds`.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.backend_cases import Case, cases
from benchmarks.isolation import in_workers
from qcompiler.compile import compile as compile_
from qcompiler.errors import LegalityError, PassFailedError, QCompilerError
from qcompiler.execution.session import OrtSession

CLASSES = ("right", "wrong", "nothing", "refused", "in a pass", "foreign", "verify", "died")
_NOISE = 0.1
"""Norm of the error over that of the values, up to which int8 counts as right (20 dB)."""
_PEER_IR = 13
"""The newest IR version that ONNX Runtime 1.31 reads; what is newer differs in its opset only."""
_UNRELEASED = "ALLOW_RELEASED_ONNX_OPSET_ONLY"
"""Set to 0, ONNX Runtime takes opsets newer than those that it knows as released."""


@dataclass(frozen=True)
class Result:
    """What became of one model.

    Attributes:
        name: Of the case.
        outcome: One of `CLASSES`.
        reason: The error, in one line.
        peer_right: Whether ONNX Runtime gives the expected values.
        integers: Regions that run in integers.
    """

    name: str
    outcome: str
    reason: str = ""
    peer_right: bool = False
    integers: int = 0

    @property
    def is_fault(self) -> bool:
        """Whether it is to be mended, whatever ONNX Runtime says."""
        return self.outcome in ("in a pass", "foreign", "verify", "died") or (
            self.outcome == "wrong" and self.peer_right
        )


def judge(case: Case, target: str, scheme: str) -> Result:
    """Compiles and runs one model in this process."""
    peer = peer_is_right(case)
    try:
        feeds = None if scheme in ("float32", "dynamic") else [case.inputs]
        compiled = compile_(case.model, target, feeds, scheme=scheme, recipe="fast")
        outputs = compiled.run(case.inputs)
        verified = compiled.verify([case.inputs]) if scheme != "float32" else None
    except PassFailedError as error:
        return Result(case.name, "in a pass", _line(error), peer)
    except LegalityError as error:
        nothing = "no op that the target quantizes" in str(error)
        return Result(case.name, "nothing" if nothing else "refused", _line(error), peer)
    except QCompilerError as error:
        return Result(case.name, "refused", _line(error), peer)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a result
        return Result(case.name, "foreign", f"{type(error).__name__}: {_line(error)}", peer)
    integers = 0 if verified is None else verified.integer
    difference = differs(case, outputs, exact=scheme == "float32")
    if difference:
        return Result(case.name, "wrong", difference, peer, integers)
    if verified is not None and not verified.ok:
        return Result(case.name, "verify", verified.summary, peer, integers)
    return Result(case.name, "right", "", peer, integers)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def peer_is_right(case: Case) -> bool:
    """Whether ONNX Runtime, given the model, computes the expected values.

    It is helped as far as it goes: opsets that it calls unreleased are allowed, and arrays of types
    that numpy lacks are handed over as its own values.
    """
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    model.ir_version = min(model.ir_version, _PEER_IR)
    os.environ[_UNRELEASED] = "0"  # read whenever a model is loaded
    try:
        session = OrtSession(model.SerializeToString(), threads=1)
        return not differs(case, session.run_checked(case.inputs), exact=True)
    except Exception:  # noqa: BLE001 - it cannot run the model, which is the answer
        return False
    finally:
        del os.environ[_UNRELEASED]


def differs(case: Case, outputs: Sequence[Any], *, exact: bool) -> str:
    """What differs from the expected outputs, in words; empty if nothing does.

    Args:
        case: Holds the expected values.
        outputs: In graph order.
        exact: Use the suite's tolerances; otherwise those of 8-bit numbers.
    """
    if len(outputs) != len(case.outputs):
        return f"{len(outputs)} outputs for {len(case.outputs)}"
    for index, (have, want) in enumerate(zip(outputs, case.outputs, strict=True)):
        found = _differs(have, want, case, exact)
        if found:
            return f"output {index}: {found}"
    return ""


def _differs(have: Any, want: Any, case: Case, exact: bool) -> str:
    if want is None or have is None:
        return "" if want is have else "present or absent"
    if isinstance(want, list):
        if not isinstance(have, list) or len(have) != len(want):
            return "another sequence"
        found = (_differs(h, w, case, exact) for h, w in zip(have, want, strict=True))
        return next((text for text in found if text), "")
    have = np.asarray(have)
    if have.shape != want.shape:
        return f"shape {list(have.shape)} for {list(want.shape)}"
    if want.dtype.kind in "OUS":
        return "" if have.astype(str).tolist() == want.astype(str).tolist() else "other strings"
    if have.dtype != want.dtype:
        return f"{have.dtype} for {want.dtype}"
    return _values_differ(have, want, case, exact)


def _values_differ(have: Any, want: Any, case: Case, exact: bool) -> str:
    wide = np.complex128 if want.dtype.kind == "c" else np.float64
    a, b = have.astype(wide), want.astype(wide)
    if exact or want.dtype.kind in "iub":
        if np.allclose(a, b, case.rtol, case.atol, equal_nan=True):
            return ""
        with np.errstate(invalid="ignore"):
            return f"values differ by up to {np.nanmax(np.abs(a - b)):.3g}"
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return "other infinities"
    noise = float(np.linalg.norm(a[finite] - b[finite]))
    norm = float(np.linalg.norm(b[finite]))
    return "" if noise <= _NOISE * norm + case.atol else f"error {noise:.3g} of norm {norm:.3g}"


def judge_all(
    chosen: Sequence[Case], target: str, scheme: str, *, seconds: float = 60.0, jobs: int = 1
) -> Iterator[Result]:
    """The result of every case, in the order in which they are done.

    Args:
        chosen: The cases; workers inherit them.
        target: As `compile` takes it.
        scheme: As `compile` takes it.
        seconds: A case that takes longer is stopped.
        jobs: Worker processes.
    """
    return in_workers(
        lambda i: judge(chosen[i], target, scheme),
        range(len(chosen)),
        lambda i, how: Result(chosen[i].name, "died", how),
        seconds=seconds,
        jobs=min(jobs, len(chosen)),
    )


def table(rows: dict[str, Sequence[Result]]) -> str:
    """Counts per class as a Markdown table; in brackets, those that ONNX Runtime gets right."""
    head = ["", "models", *CLASSES, "with integers"]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for name, results in rows.items():
        every = Counter(each.outcome for each in results)
        peers = Counter(each.outcome for each in results if each.peer_right)
        cells = [f"{every[kind]} ({peers[kind]})" for kind in CLASSES]
        count = f"{len(results)} ({sum(peers.values())})"
        integers = sum(each.integers > 0 for each in results)
        lines.append(f"| {' | '.join([name, count, *cells, str(integers)])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="only cases whose name holds one of these")
    parser.add_argument("--target", default="onnxruntime")
    parser.add_argument("--scheme", default="float32")
    parser.add_argument("--constant", action="store_true", help="all inputs but the first constant")
    parser.add_argument("--sample", type=int, help="about so many models, evenly spread")
    parser.add_argument("--seconds", type=float, default=60.0, help="time of one model")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--list", nargs="*", default=(), choices=CLASSES, metavar="CLASS")
    parser.add_argument("--json", type=Path, help="write every result to this file")
    given = parser.parse_args()
    chosen = [c for c in cases(given.sample) if _is_named(c.name, given.names)]
    if given.constant:
        chosen = [case.with_constants() for case in chosen]
    results = sorted(
        judge_all(chosen, given.target, given.scheme, seconds=given.seconds, jobs=given.jobs),
        key=lambda each: each.name,
    )
    row = f"{given.scheme} on {given.target}{', constants' if given.constant else ''}"
    print(table({row: results}))
    for each in results:
        if each.outcome in given.list:
            print(f"{each.outcome}{'' if each.peer_right else '*'}: {each.name}: {each.reason}")
    if given.json:
        given.json.write_text(json.dumps([asdict(each) for each in results], indent=1))


def _is_named(name: str, parts: Sequence[str]) -> bool:
    return not parts or any(part in name for part in parts)


if __name__ == "__main__":
    main()
