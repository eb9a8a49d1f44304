"""Module paths in files of torch's older exporter; its own names are the oracle."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import qcompiler as qc
from qcompiler.frontends.scopes import module_of_name
from qcompiler.ir.origin import module_path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/layers/layers.3/fc/MatMul_1", "layers.3.fc"),
        ("/features/features.0/features.0.0/Conv", "features.0.0"),
        ("/model.22/cv2.0/cv2.0.0/conv/Conv", "model.22.cv2.0.0.conv"),
        ("/cv2/cv20/Conv", "cv2.cv20"),
        ("/Constant_26", None),
        ("//Conv", None),
        ("/a//Conv", None),
        ("Conv_51", None),
        ("a/b/Conv", None),
        ("/a/b", None),
        ("", None),
    ],
)
def test_scopes_of_a_name(name: str, path: str | None) -> None:
    assert module_of_name(name) == path


def test_every_path_is_that_of_a_module(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.branches = nn.ModuleList(
                nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 4)))
                for _ in range(2)
            )

        def forward(self, x: object) -> object:
            return self.branches[0](x) + self.branches[1](x)

    net = nn.Sequential(nn.Linear(4, 4), Block()).eval()
    path = tmp_path / "m.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.zeros(2, 4),), path, dynamo=False)
    nodes = {node.op_type: module_path(node) for node in qc.load(path).graph}
    assert nodes["Add"] == "1"
    assert nodes["Relu"] == "1.branches.1.1.0"
    paths = {module_path(node) for node in qc.load(path).graph if node.op_type == "Gemm"}
    assert paths == {n for n, each in net.named_modules() if isinstance(each, nn.Linear)}
    compiled = qc.compile(
        path, calibration=[torch.randn(2, 4)], scheme="int8", recipe="fast",
        overrides={"1.branches.0": "float32"},
    )  # fmt: skip
    kept = {c.module for c in compiled.plan.choices.values() if c.precision == "float32"}
    assert {"1.branches.0.0", "1.branches.0.1.1"} <= kept


def test_other_producers_name_as_they_like(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17], producer_name: "other">'
        "g (float[N] x) => (float[N] y) { y = Relu(x) }"
    )
    model.graph.node[0].name = "/a/b/Relu"
    assert module_path(next(iter(qc.load(model).graph))) is None
    model.producer_name = "pytorch"
    assert module_path(next(iter(qc.load(model).graph))) == "a.b"
