"""Functions of floats on integers: ONNX has none of them. Oracle: the eager operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from qcompiler.execution.feeds import normalize_feed  # noqa: E402 - only where torch is
from qcompiler.execution.session import OrtSession  # noqa: E402
from qcompiler.frontends import load  # noqa: E402

OPS = (
    torch.round, torch.floor, torch.ceil, torch.trunc, torch.fix, torch.isnan, torch.isinf,
    torch.isfinite, torch.relu,
)  # fmt: skip


class Ops(torch.nn.Module):  # type: ignore[name-defined, misc]
    def forward(self, x: Any) -> list[Any]:
        return [op(x) for op in OPS]


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.float32], ids=str)
def test_integers_stay_as_they_are(dtype: Any) -> None:
    """Beside them floats, which the operators are for."""
    x = torch.tensor([[-7, -1, 0], [3, 9, 120]]).to(dtype)
    program = load(Ops().eval(), (x,))
    found = OrtSession(program.model).run(normalize_feed(program.signature, (x,)))
    for op, have, want in zip(OPS, found, Ops()(x), strict=True):
        assert have.dtype == want.numpy().dtype, op
        np.testing.assert_array_equal(have, want.numpy(), err_msg=str(op))
