"""Damaged artifacts are `ArtifactError`s that name the file, whatever their reader raises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.errors import ArtifactError, ConfigurationError
from qcompiler.target.contract import Restored

TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 8] x) => (float[n, 8] y) <float[8, 8] w = {%s}> { h = MatMul(x, w)  y = Relu(h) }"""


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = onnx.parser.parse_model(TEXT % ", ".join("1" * 64))
    return qc.compile(model, recipe="fast", budget=0).save(tmp_path / "a.onnx")


def test_it_loads(saved: Path) -> None:
    """The control."""
    assert qc.load_compiled(saved).run(np.ones((1, 8), np.float32))[0][0, 0] == 8.0


def _unsorted(model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _attribute(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.add().name = "zz"


def _dims(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 2**40


def _no_type(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_type = 99


def _outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/hostname"


def _missing(model: onnx.ModelProto) -> None:
    _outside(model)
    model.graph.initializer[0].external_data[0].value = "none.data"


def _unknown_op(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Nonesuch"


def _no_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("nowhere", 1, [1]))


DAMAGE: dict[str, Callable[[onnx.ModelProto], None]] = {
    each.__name__: each
    for each in (
        _attribute, _dims, _no_type, _outside, _missing, _unknown_op, _no_output,
    )
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_graph_is_an_error_of_ours(damage: str, saved: Path) -> None:
    model = onnx.load(saved)
    DAMAGE[damage](model)
    saved.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match=r"cannot read the artifact .*a\.onnx"):
        qc.load_compiled(saved)


def test_nodes_in_another_order_give_the_same(saved: Path) -> None:
    """The engine sorts them; nothing of the result depends on how they are stored."""
    model = onnx.load(saved)
    _unsorted(model)
    saved.write_bytes(model.SerializeToString())
    assert qc.load_compiled(saved).run(np.ones((1, 8), np.float32))[0][0, 0] == 8.0


def test_bytes_that_are_no_artifact(saved: Path) -> None:
    good = saved.read_bytes()
    for content in (b"", b"hello", good[: len(good) // 2], b"\x08" + b"\xff" * 40):
        saved.write_bytes(content)
        for target in (None, *qc.targets()):
            with pytest.raises(ArtifactError, match=r"a\.onnx"):
                qc.load_compiled(saved, target)


@pytest.mark.parametrize("path", ["none", ".", "a\0b", "n" * 300, "/dev/zero"])
def test_paths_that_hold_no_file(path: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot read the artifact"):
        qc.load_compiled(tmp_path / path)


@pytest.mark.parametrize(
    "error", [KeyError("x"), MemoryError(), RecursionError(), ConfigurationError("odd", fix="f")]
)
def test_whatever_a_reader_raises(
    error: Exception, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def restore(path: Path) -> Restored:
        raise error

    monkeypatch.setattr(OnnxRuntime, "restore", restore)
    with pytest.raises(ArtifactError, match="cannot read the artifact") as caught:
        qc.load_compiled(saved)
    assert caught.value.__cause__ is error
