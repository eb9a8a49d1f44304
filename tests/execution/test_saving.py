"""Saved ONNX files: weights of other files, two-file form, kills between its renames."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from qcompiler.errors import ArtifactError, ConfigurationError
from qcompiler.execution import saving
from qcompiler.execution.saving import write_onnx
from qcompiler.execution.session import OrtSession

TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 64] x, bool c) => (float[n, 64] y) {
  z = MatMul(x, w)
  y = If(c) <then_branch = t () => (float[n, 64] a) { a = MatMul(z, w) },
             else_branch = e () => (float[n, 64] b) { b = Identity(z) }>
}"""


def _proto(value: float) -> onnx.ModelProto:
    model = onnx.parser.parse_model(TEXT)
    weight = np.full((64, 64), value, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return model


def _model(value: float) -> ir.Model:
    return ir.from_proto(_proto(value))


def _first(path: Path) -> float:
    """What a bare ONNX Runtime gives."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = {"x": np.ones((1, 64), np.float32), "c": np.array(False)}
    return float(session.run(None, feed)[0][0, 0])


@pytest.fixture
def two_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that makes small models large ones."""
    monkeypatch.setattr(saving, "SINGLE_FILE_BYTES", 1000)


def test_weights_of_another_file_are_copied_in_while_a_session_reads_them(tmp_path: Path) -> None:
    onnx.save_model(
        _proto(2.0), str(tmp_path / "m.onnx"), save_as_external_data=True, location="m.data",
        size_threshold=0,
    )  # fmt: skip
    model = ir.load(tmp_path / "m.onnx")
    session = OrtSession(model)
    write_onnx(model, tmp_path / "o.onnx")
    (tmp_path / "m.data").unlink()
    assert _first(tmp_path / "o.onnx") == 128.0
    feed = {"x": np.ones((1, 64), np.float32), "c": np.array(False)}
    assert session.run(feed)[0][0, 0] == 128.0
    write_onnx(model, tmp_path / "o.onnx")
    assert _first(tmp_path / "o.onnx") == 128.0


def test_the_file_that_weights_lie_in_is_not_written(tmp_path: Path) -> None:
    onnx.save_model(
        _proto(2.0), str(tmp_path / "m.onnx"), save_as_external_data=True, location="m.data",
        size_threshold=0,
    )  # fmt: skip
    model, before = ir.load(tmp_path / "m.onnx"), (tmp_path / "m.data").read_bytes()
    os.link(tmp_path / "m.data", tmp_path / "hard")
    for name in ("m.data", "hard"):
        with pytest.raises(ConfigurationError, match="are read from it"):
            write_onnx(model, tmp_path / name)
        assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("name", ["o.json", "o.textproto", "o", "o.onnx"])
def test_the_format_does_not_follow_the_name(name: str, tmp_path: Path) -> None:
    write_onnx(_model(2.0), tmp_path / name)
    assert onnx.ModelProto.FromString((tmp_path / name).read_bytes()).graph.node


def test_what_onnx_cannot_hold_is_an_error_of_ours(tmp_path: Path) -> None:
    model = _model(2.0)
    next(iter(model.graph)).name = "lone \ud800"
    with pytest.raises(ArtifactError, match="cannot write"):
        write_onnx(model, tmp_path / "o.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("two_files")
class TestTwoFiles:
    def test_each_save_has_weights_of_its_own_and_the_old_ones_go(self, tmp_path: Path) -> None:
        path, seen = tmp_path / "o.onnx", set()
        for value in (1.0, -5.0):
            write_onnx(_model(value), path)
            assert _first(path) == 64 * value
            (data,) = [each.name for each in tmp_path.iterdir() if each != path]
            assert re.fullmatch(r"o\.onnx\.[0-9a-f]{8}\.data", data)
            seen.add(data)
        assert len(seen) == 2

    def test_a_small_model_in_the_place_of_a_large_one_takes_its_weights_away(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_onnx(_model(1.0), tmp_path / "o.onnx")
        (tmp_path / "o.onnx.notes.data").write_text("not ours")
        monkeypatch.setattr(saving, "SINGLE_FILE_BYTES", 2_000_000_000)
        write_onnx(_model(2.0), tmp_path / "o.onnx")
        assert sorted(each.name for each in tmp_path.iterdir()) == ["o.onnx", "o.onnx.notes.data"]

    def test_a_long_name_and_one_that_is_no_text(self, tmp_path: Path) -> None:
        for name in ("n" * 250, os.fsdecode(b"\xff\xfe")):
            path = tmp_path / name
            write_onnx(_model(3.0), path)
            write_onnx(_model(4.0), path)
            (data,) = [each for each in tmp_path.iterdir() if each != path]
            path.rename(tmp_path / "plain.onnx")
            assert _first(tmp_path / "plain.onnx") == 256.0
            (tmp_path / "plain.onnx").unlink()
            data.unlink()

    @pytest.mark.parametrize("kept", [0, 1, 2])
    def test_killed_after_any_rename_the_file_is_the_old_or_the_new_model(
        self, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "o.onnx"
        write_onnx(_model(1.0), path)
        pid = os.fork()
        if pid == 0:
            monkeypatch.setattr(Path, "replace", _dying(Path.replace, kept))
            write_onnx(_model(-5.0), path)
            os._exit(0)
        os.waitpid(pid, 0)
        assert _first(path) == (-320.0 if kept == 2 else 64.0)
        write_onnx(_model(7.0), path)
        assert _first(path) == 448.0
        assert len(list(tmp_path.iterdir())) == 2, "what the killed one left is gone"

    def test_threads_that_save_to_one_path_leave_one_whole_model(self, tmp_path: Path) -> None:
        path, models = tmp_path / "o.onnx", [_model(1.0), _model(2.0)]

        def save(model: ir.Model) -> None:
            for _ in range(15):
                write_onnx(model, path)

        threads = [threading.Thread(target=save, args=(each,)) for each in models]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert _first(path) in (64.0, 128.0)
        assert len(list(tmp_path.iterdir())) == 2


def _dying(real: Callable[..., Path], kept: int) -> Callable[..., Path]:
    done: list[Path] = []

    def replace(self: Path, target: Path) -> Path:
        if len(done) == kept:
            os._exit(9)
        done.append(target)
        found = real(self, target)
        if len(done) == kept:
            os._exit(9)
        return found

    return replace


def test_a_full_folder_for_temporary_files_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime says nothing when its profile is cut off."""
    from qcompiler.errors import LoweringError
    from qcompiler.execution import profile, session

    def _cut(path: Path, feeds: int, skip: int = 0) -> list[profile.KernelTime]:
        whole = path.read_text()
        json.loads(whole)
        path.write_text(whole[: len(whole) // 2])
        return profile.read_profile(path, feeds, skip)

    monkeypatch.setattr(session, "read_profile", _cut)
    feed = {"x": np.ones((1, 64), np.float32), "c": np.array(False)}
    with pytest.raises(LoweringError, match="damaged") as caught:
        OrtSession(_model(1.0)).profile([feed])
    assert "TMPDIR" in str(caught.value)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(LoweringError, match="temporary files cannot be used"):
        OrtSession(_model(1.0)).optimized_model()
