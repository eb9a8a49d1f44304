from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import qcompiler as qc
from qcompiler.errors import ConfigurationError


def test_four_heat_maps_and_a_histogram() -> None:
    x = [[191.6, -13.5, 728.6], [92.14, 295.5, -184.0]]
    q = qc.quantize(x, scale=3.5, zero_point=-70)
    figure = qc.plot_quantization(x, q)
    shown = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert list(shown) == ["original", "integers, 8 bits", "dequantized", "error"]
    np.testing.assert_array_equal(shown["integers, 8 bits"].get_images()[0].get_array(), q.integers)
    np.testing.assert_allclose(np.asarray(shown["error"].get_images()[0].get_array()), q.error())
    assert [text.get_text() for text in shown["original"].texts][:2] == ["191.6", "-13.5"]
    assert any(axes.get_xlabel() == "value" for axes in figure.axes)
    assert "S=3.5, Z=-70" in figure.get_suptitle()


def test_any_shape_and_kind_is_drawn_and_written(tmp_path: Path) -> None:
    for number, x in enumerate((3.5, torch.randn(4, 3, 2, 2), np.zeros(40))):
        qc.plot_quantization(x, path=tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").read_bytes()[1:4] == b"PNG"
    q = qc.quantize(np.eye(3), kind="codebook", granularity="channel")
    assert "codebook4, channels" in qc.plot_quantization(np.eye(3), q).get_suptitle()


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(ConfigurationError, match="is not that of"):
        qc.plot_quantization([1.0, 2.0], qc.quantize([1.0]))
    with pytest.raises(ConfigurationError, match="empty"):
        qc.plot_quantization([], qc.quantize([], scale=1.0))
