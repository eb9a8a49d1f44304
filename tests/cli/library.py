"""What stands for the library where only the command line is tested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qcompiler.ir.plan import Choice, Plan
from qcompiler.report.report import Report
from qcompiler.report.rows import RegionRow


class Result:
    """Stands for the library's result."""

    plan = Plan("onnxruntime", {"conv": Choice("int8", "wins")})
    report = Report("file m.onnx", "onnxruntime", regions=(RegionRow("conv", "Conv", "int8"),))

    def save(self, path: Path) -> None:
        path.write_bytes(b"artifact")


class Library:
    """Takes the place of `qcompiler.compile.compile` and keeps its arguments."""

    def __init__(self) -> None:
        self.arguments: dict[str, Any] = {}
        self.error: BaseException | None = None

    def __call__(self, model: Path, **arguments: Any) -> Result:
        self.arguments = {"model": model, **arguments}
        if self.error is not None:
            raise self.error
        return Result()
