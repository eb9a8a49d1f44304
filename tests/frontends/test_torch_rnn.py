"""nn.RNN keeps its time open. Oracle: the layer itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402 - only where torch is

from qcompiler.frontends import load  # noqa: E402


@pytest.mark.parametrize(
    "options",
    [
        {"batch_first": True},
        {"num_layers": 2, "bidirectional": True, "batch_first": True, "nonlinearity": "relu"},
        {"bias": False, "batch_first": True, "dtype": torch.float16},
    ],
)
def test_steps_are_open(options: dict[str, Any], run: Any) -> None:
    torch.manual_seed(0)
    layer = nn.RNN(4, 3, **options).eval()
    kind = options.get("dtype", torch.float32)
    tolerance = 1e-5 if kind is torch.float32 else 2e-3
    program = load(
        layer, torch.randn(2, 5, 4, dtype=kind), dynamic={"input": {0: "batch", 1: "time"}}
    )
    assert sum(node.op_type == "RNN" for node in program.model.graph) == layer.num_layers
    for batch, steps in ((2, 5), (3, 1), (1, 9)):
        x = torch.randn(batch, steps, 4, dtype=kind)
        found = run(program, {program.signature.input_names[0]: x.numpy()})
        with torch.no_grad():
            wanted = layer(x)
        for have, want in zip(found, wanted, strict=True):
            np.testing.assert_allclose(have, want.numpy(), atol=tolerance)
