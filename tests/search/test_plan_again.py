"""A plan that was saved, applied to the network with one more block in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import qcompiler as qc  # noqa: E402
from qcompiler.errors import ConfigurationError  # noqa: E402

FEEDS = [torch.randn(4, 8, generator=torch.Generator().manual_seed(0)) for _ in range(2)]


class Net(nn.Module):
    """Layers of one op each, so that exported names are numbers only."""

    def __init__(self, extra: bool) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.extra = nn.Linear(8, 8) if extra else None
        self.second, self.third = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        x = self.first(x).tanh()
        if self.extra is not None:
            x = self.extra(x).tanh()
        return self.third(self.second(x).tanh())


def _compiled(net: Net, **options: Any) -> qc.Compiled:
    return qc.compile(net.eval(), calibration=FEEDS, recipe="fast", **options)


def _precisions(compiled: qc.Compiled) -> dict[str, str]:
    rows = compiled.report.regions
    return {str(row.module): row.precision for row in rows if "Gemm" in row.ops}


def test_entries_follow_their_modules(tmp_path: Path) -> None:
    before = _compiled(Net(False), scheme="int8", overrides={"second": "float32"})
    path = tmp_path / "plan.json"
    path.write_text(before.plan.to_json())
    assert '"module": "second"' in path.read_text()
    after = _compiled(Net(True), plan=path)
    assert _precisions(after) == {
        "first": "int8-float-out", "extra": "float32", "second": "float32", "third": "int8"
    }  # fmt: skip
    (told,) = [each for each in after.report.warnings if "no entry" in each]
    assert "extra Gemm" in told
    with pytest.raises(ConfigurationError, match="extra Gemm"):
        _compiled(Net(False), plan=after.plan)


def test_the_paths_of_an_exported_file_are_read(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    path = tmp_path / "net.onnx"
    torch.onnx.export(Net(True).eval(), (FEEDS[0],), path, dynamo=True, verbose=False)
    found = qc.compile(
        path, calibration=FEEDS, scheme="int8", recipe="fast", overrides={"extra": "float32"}
    )
    assert _precisions(found)["extra"] == "float32"
    assert set(_precisions(found)) == {"first", "extra", "second", "third"}
