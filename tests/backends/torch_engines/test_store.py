"""Saved artifacts: plain tensors only, equal bits in a new process, clear errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import qcompiler as qc
from qcompiler.artifacts import load_compiled as load
from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.artifact import TorchArtifact
from qcompiler.backends.torch_engines.exported import save_exported
from qcompiler.backends.torch_engines.kernels.island import Setting
from qcompiler.backends.torch_engines.standalone import save_torchscript
from qcompiler.errors import ArtifactError, ConfigurationError

_OWN = """
import sys
import numpy as np
import qcompiler
artifact = qcompiler.load_compiled(sys.argv[1]).artifact
np.save(sys.argv[3], artifact.run({artifact.signature.input_names[0]: np.load(sys.argv[2])})[0])
"""
_SCRIPT = """
import sys
import numpy as np, torch
extra = {"engine.txt": ""}
torch.jit.load(sys.argv[1], _extra_files=extra)
torch.backends.quantized.engine = extra["engine.txt"].decode()
module = torch.jit.load(sys.argv[1])
assert not any(name.startswith("qcompiler") for name in sys.modules)
np.save(sys.argv[3], module(torch.from_numpy(np.load(sys.argv[2])))[0].numpy())
"""


_EXPORTED = """
import sys
import numpy as np, torch
import qcompiler.backends.torch_engines.exported
module = torch.export.load(sys.argv[1]).module()
np.save(sys.argv[3], module(torch.from_numpy(np.load(sys.argv[2])))[0].numpy())
"""


@pytest.fixture
def network(qdq: Any, rng: Any) -> Any:
    def make(engine: str) -> tuple[TorchArtifact, Any]:
        g = qdq()
        x = g.pair(g.input(["n", 8, 9, 9]), 0.02, 120)
        w = g.weight(
            rng.integers(-127, 128, (16, 8, 3, 3)).astype(np.int8), np.linspace(1, 2, 16) / 300
        )
        y = g.pair(g.node("Relu", g.node("Conv", x, w, g.bias(np.arange(16), 0.001))), 0.15, 0)
        y = g.pair(g.node("MaxPool", y, kernel_shape=[2, 2]), 0.15, 0)
        y = g.node("Softmax", y, axis=1)
        program = g.program(y)
        return TorchArtifact(program.model, program.signature, Setting(engine)), program

    return make


def in_new_process(code: str, file: Path, x: Any, folder: Path) -> Any:
    np.save(folder / "x.npy", x)
    files = [str(each) for each in (file, folder / "x.npy", folder / "y.npy")]
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, *files], check=True)
    return np.load(folder / "y.npy")


@pytest.mark.parametrize("engine", adapter.available_engines())
def test_own_file_gives_equal_bits_in_a_new_process(
    engine: str, network: Any, tmp_path: Path, rng: Any
) -> None:
    artifact, program = network(engine)
    file = tmp_path / "net.pt"
    artifact.save(file)
    x = rng.normal(0, 1.3, (3, 8, 9, 9)).astype(np.float32)
    expected = artifact.run({program.signature.input_names[0]: x})[0]
    np.testing.assert_array_equal(in_new_process(_OWN, file, x, tmp_path), expected)
    content = torch.load(file, weights_only=True)
    assert content["engine"] == engine
    assert all(type(t) is torch.Tensor and not t.is_quantized for t in content["tensors"].values())
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


@pytest.mark.parametrize("engine", ["fbgemm", "qnnpack"])
def test_torchscript_runs_without_qcompiler(
    engine: str, network: Any, tmp_path: Path, rng: Any
) -> None:
    artifact, program = network(engine)
    x = rng.normal(0, 1.3, (3, 8, 9, 9)).astype(np.float32)
    feed = {program.signature.input_names[0]: x}
    save_torchscript(artifact, tmp_path / "net.ts", feed)
    got = in_new_process(_SCRIPT, tmp_path / "net.ts", x, tmp_path)
    np.testing.assert_array_equal(got, artifact.run(feed)[0])


def test_exported_program_runs_through_the_custom_operator(
    network: Any, tmp_path: Path, rng: Any
) -> None:
    artifact, program = network("fbgemm")
    x = rng.normal(0, 1.3, (3, 8, 9, 9)).astype(np.float32)
    feed = {program.signature.input_names[0]: x}
    save_exported(artifact, tmp_path / "net.pt2", feed)
    got = in_new_process(_EXPORTED, tmp_path / "net.pt2", x, tmp_path)
    np.testing.assert_array_equal(got, artifact.run(feed)[0])


def test_module_is_readable(network: Any) -> None:
    artifact, _ = network("fbgemm")
    code = artifact.module.code
    assert "torch.ops.quantized.conv2d" in code
    assert "qcompiler" in code, "float rows are named functions"


def test_a_file_for_vnni_is_refused_without_it(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, _ = network("fbgemm")
    artifact.save(tmp_path / "net.pt")
    monkeypatch.setattr(adapter, "has_vnni", lambda: False)
    with pytest.raises(ArtifactError, match="VNNI"):
        load(tmp_path / "net.pt")


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 broken"])
def test_damaged_files_are_named(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "net.pt"
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"net\.pt"):
        load(file)


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.save({"format": "else"}, tmp_path / "net.pt")
    with pytest.raises(ArtifactError, match="not saved by a torch engine"):
        load(tmp_path / "net.pt")
    with pytest.raises(ArtifactError, match="cannot read"):
        load(tmp_path / "missing.pt")


def test_saving_into_a_missing_folder_is_an_error(network: Any, tmp_path: Path) -> None:
    artifact, _ = network("fbgemm")
    with pytest.raises(ArtifactError, match="cannot write"):
        artifact.save(tmp_path / "missing" / "net.pt")


class Nested(torch.nn.Module):
    """Keyword arguments in, a nest with None in it out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3)
        self.head = torch.nn.Linear(8, 4)

    def forward(
        self, images: dict[str, torch.Tensor], shift: torch.Tensor | None = None, *, scale: float
    ) -> dict[str, Any]:
        x = torch.relu(self.conv(images["left"] + images["right"]))
        y = self.head(x.mean((2, 3))) * scale
        return {"scores": y if shift is None else y + shift, "parts": (x, None)}


_NESTED = """
import sys
import torch, qcompiler
compiled = qcompiler.load_compiled(sys.argv[1])
x = torch.load(sys.argv[2])
found = compiled({"left": x, "right": x + 1}, scale=2.0, shift=torch.ones(4))
assert found["parts"][1] is None
torch.save((found["scores"], found["parts"][0]), sys.argv[3])
"""


@pytest.mark.parametrize("engine", ["fbgemm", "onednn"])
def test_the_source_signature_survives_in_a_new_process(engine: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    module = Nested().eval()
    draws = [torch.randn(2, 3, 8, 8) for _ in range(3)]
    feeds = [({"left": x, "right": x + 1}, {"shift": torch.ones(4), "scale": 2.0}) for x in draws]
    compiled = qc.compile(module, engine, feeds, scheme="int8", recipe="fast")
    assert "torch.ops.quantized.conv2d" in compiled.module.code
    here = compiled({"left": draws[0], "right": draws[0] + 1}, torch.ones(4), scale=2.0)
    with torch.no_grad():
        wanted = module({"left": draws[0], "right": draws[0] + 1}, torch.ones(4), scale=2.0)
    error = (here["scores"] - wanted["scores"]).square().sum() / wanted["scores"].square().sum()
    assert 0 < float(error) < 0.01
    file = compiled.save(tmp_path / "net.pt")
    torch.save(draws[0], tmp_path / "x.pt")
    files = [str(file), str(tmp_path / "x.pt"), str(tmp_path / "y.pt")]
    subprocess.run([sys.executable, "-W", "ignore", "-c", _NESTED, *files], check=True)
    scores, part = torch.load(tmp_path / "y.pt")
    assert torch.equal(scores, here["scores"])
    assert torch.equal(part, here["parts"][0])
    again = qc.load_compiled(file)
    assert again.plan == compiled.plan.bare
    assert again.target.name == engine
    assert again.verify(feeds[:1]).require().checked


def test_the_module_runs_on_its_own_engine_wherever_it_is_called(network: Any, rng: Any) -> None:
    artifact, program = network("qnnpack")
    x = rng.normal(0, 1.3, (3, 8, 9, 9)).astype(np.float32)
    expected = artifact.run({program.signature.input_names[0]: x})[0]
    with adapter.engine_scope("fbgemm"), torch.no_grad():
        found = artifact.module(torch.from_numpy(x))[0].numpy()
        assert torch.backends.quantized.engine == "fbgemm"
        with pytest.raises(RuntimeError):
            artifact.module(torch.zeros(1, 2))
        assert torch.backends.quantized.engine == "fbgemm"
    np.testing.assert_array_equal(found, expected)


def test_onnx_artifacts_open_too_and_have_no_module(tmp_path: Path, network: Any) -> None:
    _, program = network("fbgemm")
    feed = {program.signature.input_names[0]: np.ones((2, 8, 9, 9), np.float32)}
    compiled = qc.compile(program, "onnxruntime", scheme="float32")
    again = qc.load_compiled(compiled.save(tmp_path / "net.onnx"))
    np.testing.assert_array_equal(again.run(feed)[0], compiled.run(feed)[0])
    with pytest.raises(ConfigurationError, match="no torch module"):
        _ = again.module
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x08nonsense")
    with pytest.raises(ArtifactError, match=r"bad\.onnx"):
        qc.load_compiled(tmp_path / "bad.onnx")


def test_profile_covers_kernels_and_conversions(network: Any, rng: Any) -> None:
    _, program = network("fbgemm")
    keys = {node.name: node.name for node in program.graph}
    artifact = TorchArtifact(
        program.model, program.signature, Setting("fbgemm"), threads=1, keys=keys
    )
    x = rng.normal(0, 1, (1, 8, 9, 9)).astype(np.float32)
    sample = artifact.profile([{program.signature.input_names[0]: x}] * 2)
    assert sample is not None
    assert sample.conversions > 0
    assert set(sample.regions) >= set(artifact.kernels().integer)
    assert artifact.nbytes > 16 * 8 * 9
