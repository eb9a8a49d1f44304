"""`.pte` programs: integer layers in XNNPACK, outputs within steps of the graph's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.artifacts import load_compiled
from qcompiler.backends.executorch import runtime
from qcompiler.backends.executorch.runtime import available
from qcompiler.backends.executorch.target import ExecuTorch
from qcompiler.compiled import Compiled
from qcompiler.errors import ArtifactError, ConfigurationError, FeedError, LoweringError
from qcompiler.execution.session import OrtSession
from qcompiler.ir.text import from_text
from qcompiler.target.contract import Target
from qcompiler.testing.target_contract import NETWORK, TargetContract, images

needs_executorch = pytest.mark.skipif(
    not available(), reason="executorch is not installed: see docs/executorch.md"
)


@needs_executorch
class TestExecuTorch(TargetContract):
    target: ClassVar[Target] = ExecuTorch()
    _built: ClassVar[list[Compiled]] = []

    @pytest.fixture
    def compiled(self, source: qc.Program) -> Compiled:
        """Built once: a lowering takes seconds, and a compiled program has no state."""
        if not self._built:
            self._built.append(self.build(source))
        return self._built[0]

    def load(self, path: Path) -> Callable[[dict[str, Any]], Sequence[Any]]:
        import torch
        from executorch.runtime import Runtime

        program = Runtime.get().load_program(path.read_bytes())
        method = program.load_method("forward")

        def run(feed: dict[str, Any]) -> list[Any]:
            return [each.numpy().copy() for each in method.execute([torch.from_numpy(feed["x"])])]

        return run

    def test_outputs_are_within_a_step_of_the_graph(self, compiled: Compiled) -> None:
        """XNNPACK's GEMMs round as the reference; its mean may be a step off (test_layers)."""
        feed = {"x": images(3, 7)}
        (wanted,) = OrtSession(compiled.program.model, optimize=False).run(feed)
        (found,) = compiled.run(feed)
        assert compiled.program.placement is not None
        step = float(compiled.program.placement.params("y").scale)
        assert np.abs(found - wanted).max() <= 1.01 * step

    def test_a_float_program_has_no_integer_layer(self) -> None:
        lowered = ExecuTorch().lower(from_text(NETWORK))
        assert lowered.kernels().integer == ()
        assert not any(name.startswith("int8") for name in lowered.kernels().ops)

    def test_load_compiled_reads_a_pte(self, compiled: Compiled, tmp_path: Path) -> None:
        again = load_compiled(compiled.save(tmp_path / "m.pte"))
        feed = {"x": images(2, 3)}
        np.testing.assert_array_equal(again.run(feed)[0], compiled.run(feed)[0])
        assert again.kernels == compiled.kernels
        assert again.target == self.target
        assert again.save(tmp_path / "n.pte").read_bytes() == (tmp_path / "m.pte").read_bytes()

    def test_a_batch_beyond_the_limit_is_refused(self, compiled: Compiled) -> None:
        with pytest.raises(FeedError, match="at most 32"):
            compiled.run({"x": images(33, 0)})

    def test_a_damaged_file_is_refused(self, compiled: Compiled, tmp_path: Path) -> None:
        path = compiled.save(tmp_path / "m.pte")
        path.write_bytes(path.read_bytes()[:200])
        with pytest.raises(ArtifactError):
            load_compiled(path)

    def test_no_changed_byte_reaches_the_engine(self, compiled: Compiled, tmp_path: Path) -> None:
        """ExecuTorch ends the process on some damaged programs."""
        path = compiled.save(tmp_path / "m.pte")
        content = path.read_bytes()
        for place in np.random.default_rng(0).integers(0, len(content), 20):
            changed = bytearray(content)
            changed[place] ^= 1
            path.write_bytes(changed)
            with pytest.raises(ArtifactError, match=r"damaged|was not written"):
                load_compiled(path)

    def test_a_profile_finds_every_product(self, compiled: Compiled) -> None:
        pytest.importorskip("pandas")  # ExecuTorch's reader of traces imports it
        sample = compiled.artifact.profile([{"x": images(16, 1)}])
        assert sample is not None
        assert {"first", "second", "head"} <= set(sample.regions)
        assert sample.total > 0

    def test_an_op_without_a_row_is_named(self) -> None:
        text = "odd (uint8[9] x) => (uint8[H,W,C] y) { y = ImageDecoder(x) }"
        with pytest.raises(LoweringError, match="ImageDecoder"):
            ExecuTorch().lower(from_text(text))


def test_a_missing_package_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    unavailable: Callable[[], bool] = lambda: False  # noqa: E731
    monkeypatch.setattr(runtime, "available", unavailable)
    with pytest.raises(ConfigurationError, match="not installed"):
        ExecuTorch().lower(from_text(NETWORK))


@pytest.mark.parametrize("option", ["batch", "length"])
def test_a_limit_below_one_is_refused(option: str) -> None:
    with pytest.raises(ConfigurationError, match=option):
        ExecuTorch(**{option: 0})
