"""Weights of large models: read from their files whenever they are looked at, and not kept."""

from __future__ import annotations

import gc
import os
import weakref
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

import qcompiler as qc
from qcompiler.errors import UnreadableModelError
from qcompiler.execution.session import OrtSession
from qcompiler.frontends.load import load
from qcompiler.ir import tensors
from qcompiler.ir.tensors import FileTensor
from qcompiler.ir.text import from_text

_TEXT = "g (float[n,32] x) => (float[n,32] y) <float[32,32] v, float[32,32] w>"
_TEXT += "{ h = MatMul(x, v) y = MatMul(h, w) }"


@pytest.fixture
def path(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A model of two weights with external data, of which the second begins within a page."""
    weights = {name: rng.normal(size=(32, 32)).astype(np.float32) for name in "vw"}
    model = from_text(_TEXT, weights).model
    ir.save(model, tmp_path / "m.onnx", external_data="w.data", size_threshold_bytes=0)
    return tmp_path / "m.onnx"


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tensors.LARGE_BYTES > 1 << 20
    monkeypatch.setattr(tensors, "LARGE_BYTES", 0)


def _weights(path: Path) -> list[ir.TensorProtocol]:
    values = load(path).graph.initializers.values()
    return [each.const_value for each in values if each.const_value is not None]


def test_only_large_models_are_streamed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(isinstance(each, FileTensor) for each in _weights(path))
    monkeypatch.setattr(tensors, "LARGE_BYTES", 2 * 32 * 32 * 4 - 1)
    assert all(isinstance(each, FileTensor) for each in _weights(path))


def test_arrays_are_the_files_and_nobody_keeps_them(path: Path, streamed: None) -> None:
    plain = {each.name: each for each in ir.load(path).graph.initializers.values()}
    for tensor in _weights(path):
        wanted = plain[tensor.name].const_value
        assert wanted is not None
        array = tensor.numpy()
        np.testing.assert_array_equal(array, wanted.numpy())
        assert tensor.tobytes() == wanted.tobytes()
        assert not array.flags.writeable
        held = weakref.ref(array.base if array.base is not None else array)
        del array
        gc.collect()
        assert held() is None


@pytest.mark.parametrize("dtype", [ml_dtypes.int4, ml_dtypes.bfloat16, np.int64, np.bool_])
def test_every_type_is_read(tmp_path: Path, dtype: Any) -> None:
    array = (np.arange(10) % 2).astype(dtype)
    stored = ir.Tensor(array, name="k")
    (tmp_path / "k.data").write_bytes(b"xyz" + stored.tobytes())
    outer = ir.ExternalTensor(
        "k.data", 3, stored.nbytes, stored.dtype, shape=ir.Shape([10]), name="k",
        base_dir=str(tmp_path),
    )  # fmt: skip
    found = FileTensor.of(outer)
    read = found.numpy()
    np.testing.assert_array_equal(read.astype(float), array.astype(float))
    held = weakref.ref(read)
    del read
    gc.collect()
    assert held() is None
    assert found.tobytes() == stored.tobytes()


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("scheme", ["float32", "int8-weights", "int4-weights"])
def test_a_streamed_model_is_compiled_as_another(path: Path, scheme: str) -> None:
    feed = np.ones((3, 32), np.float32)
    found = qc.compile(path, scheme=scheme, recipe="fast")
    assert found.verify().ok
    saved = found.save(path.parent / "out.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "LARGE_BYTES", 1 << 30)
        plain = qc.compile(path, scheme=scheme, recipe="fast")
        np.testing.assert_array_equal(found(feed), plain(feed))
        np.testing.assert_array_equal(qc.load_compiled(saved)(feed), plain(feed))


def test_a_file_that_has_gone_is_told(path: Path, streamed: None) -> None:
    compiled = qc.compile(path, scheme="float32", recipe="fast")
    (path.parent / "w.data").unlink()
    with pytest.raises(UnreadableModelError, match=r"w\.data cannot be read any more"):
        compiled.save(path.parent / "out.onnx")


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("grown", [0, 8])
def test_a_file_that_was_written_to_is_told(path: Path, grown: int) -> None:
    """Its bytes are other weights, and nobody may compute with them unawares."""
    compiled = qc.compile(path, scheme="float32", recipe="fast")
    weight = next(each for each in _weights(path) if isinstance(each, FileTensor))
    file = path.parent / "w.data"
    before = file.stat()
    file.write_bytes(bytes(before.st_size + grown))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))
    told = r"w\.data was written to"
    with pytest.raises(UnreadableModelError, match=told):
        compiled.save(path.parent / "out.onnx")
    with (path.parent / "copy").open("wb") as copied, pytest.raises(UnreadableModelError):
        weight.tofile(copied)
    for read in (weight.numpy, weight.tobytes):
        with pytest.raises(UnreadableModelError, match=told):
            read()


@pytest.mark.usefixtures("streamed")
def test_no_session_opens_a_file_that_was_written_to(path: Path) -> None:
    model = load(path).model
    OrtSession(model)
    os.utime(path.parent / "w.data", ns=(0, 0))
    with pytest.raises(UnreadableModelError, match="was written to"):
        OrtSession(model)
