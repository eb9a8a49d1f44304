"""`openvino{base=bf16}`: an option of the target, of its files and of what runs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.backends.openvino import target as module
from qcompiler.backends.openvino.artifact import OpenVinoArtifact
from qcompiler.backends.openvino.target import OpenVino
from qcompiler.errors import ConfigurationError
from qcompiler.execution.openvino.session import available
from qcompiler.ir.text import from_text
from qcompiler.pipeline.targets import members_of, target_of

needs_openvino = pytest.mark.skipif(
    not available(), reason="openvino is not installed: qcompiler[openvino]"
)


def _has_bfloat16(monkeypatch: pytest.MonkeyPatch, *, has: bool) -> None:
    monkeypatch.setattr(module, "native_bfloat16", lambda: has)


def test_another_type_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="base type of OpenVINO") as caught:
        OpenVino(base="fp8")  # type: ignore[arg-type]
    assert "float32, bf16" in str(caught.value)


def test_times_and_losses_refer_to_float32() -> None:
    coarse = OpenVino(threads=1, base="bf16")
    assert coarse.yardstick == OpenVino(threads=1)
    assert OpenVino().yardstick == OpenVino()


@pytest.mark.parametrize(("base", "hint"), [("float32", "=f32"), ("bf16", "=bf16")])
def test_who_runs_the_file_is_told_the_type(
    base: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default OpenVINO takes bfloat16 where the processor has it, whatever was measured."""
    _has_bfloat16(monkeypatch, has=True)
    assert f"INFERENCE_PRECISION_HINT{hint}" in (OpenVino(base=base).advice or "")  # type: ignore[arg-type]


def test_a_processor_without_it_needs_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    _has_bfloat16(monkeypatch, has=False)
    assert OpenVino().advice is None
    assert OpenVino().unsuited is None
    assert OpenVino(base="bf16").unsuited is not None


@needs_openvino
@pytest.mark.parametrize("has", [True, False])
def test_cpu_tries_it_where_the_processor_has_it(
    has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _has_bfloat16(monkeypatch, has=has)
    members = members_of(target_of("cpu{threads=2}", several=True))
    name = "openvino{base=bf16}"
    assert (name in members.named) is has
    assert (name in members.absent) is not has
    if has:
        assert members.named[name] == OpenVino(threads=2, base="bf16")


def test_a_file_for_any_processor_does_not_count_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _has_bfloat16(monkeypatch, has=True)
    assert OpenVino(base="bf16", cpu="portable").unsuited is not None


@needs_openvino
def test_the_file_says_it(tmp_path: Path) -> None:
    """The artifact runs under the hint, is saved with it, and comes back with it."""
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    text = "g (float[N,64] x) => (float[N,64] y) <float[64,64] w> { [m] y = MatMul(x, w) }"
    program = from_text(text, {"w": weight})
    feed = {"x": np.random.default_rng(1).standard_normal((8, 64)).astype(np.float32)}
    found = qc.compile(program.model, "openvino{base=bf16,threads=1}", [feed], scheme="float32")
    again = qc.load_compiled(found.save(tmp_path / "m.onnx"))
    assert again.target == OpenVino(threads=1, base="bf16")
    artifact = again.artifact
    assert isinstance(artifact, OpenVinoArtifact)
    assert artifact.session.precision == "bf16"
    np.testing.assert_array_equal(again.run(feed)[0], found.run(feed)[0])
    exact = feed["x"].astype(np.float64) @ weight
    # Rounded operands, 2^-9 of each at most; processors without bfloat16 are nearer.
    assert (
        np.abs(found.run(feed)[0] - exact).max()
        <= 2.0**-7 * (np.abs(feed["x"]) @ np.abs(weight)).max()
    )
