"""Points by hand: what stays float is what the module says, whoever's stubs it says it with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import Tensor, nn  # noqa: E402

import qcompiler as qc  # noqa: E402
from qcompiler.ir.origin import module_path  # noqa: E402


class Marked(nn.Module):
    """Three layers with a stub in front of the second and one behind it."""

    def __init__(self, begin: nn.Module, end: nn.Module) -> None:
        super().__init__()
        self.begin, self.end = begin, end
        self.before = nn.Linear(16, 16)
        self.inside = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
        self.behind = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.before(x))
        x = self.end(self.inside(self.begin(x)))
        found: Tensor = self.behind(torch.tanh(x))
        return found


@pytest.fixture
def feeds() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, 16, generator=generator) for _ in range(8)]


def _quantized(compiled: Any) -> set[str]:
    """Module paths of the layers that are not float."""
    paths = {"before", "inside.0", "inside.2", "behind"}
    rows = compiled.plan.precisions
    options = {key: precision for key, precision in rows.items() if precision != "float32"}
    found = {node.name: str(module_path(node)) for node in compiled._source.graph}
    return {found.get(key, "") for key in options} & paths


def _foreign(name: str) -> nn.Module:
    """A stub of another package."""

    def forward(self: Any, x: Tensor) -> Tensor:
        return x

    kind = type(name, (nn.Module,), {"forward": forward, "__module__": "torch.ao.quantization"})
    made = kind()
    assert isinstance(made, nn.Module)
    return made


@pytest.mark.parametrize("own", [True, False])
def test_integers_are_between_the_stubs(own: bool, feeds: list[Tensor]) -> None:
    begin = qc.QuantStub() if own else _foreign("QuantStub")
    end = qc.DeQuantStub() if own else _foreign("DeQuantStub")
    module = Marked(begin, end).eval()
    compiled = qc.compile(module, calibration=feeds, scheme="int8", recipe="fast")
    assert _quantized(compiled) == {"inside.0", "inside.2"}
    free = Marked(nn.Identity(), nn.Identity()).eval()
    without = qc.compile(free, calibration=feeds, scheme="int8", recipe="fast")
    assert _quantized(without) == {"before", "inside.0", "inside.2", "behind"}
    assert "forward" not in vars(begin)
    np.testing.assert_allclose(
        compiled(feeds[0]).numpy(), module(feeds[0]).detach().numpy(), atol=0.1
    )


def test_without_an_end_everything_behind_is_inside(feeds: list[Tensor]) -> None:
    module = Marked(qc.QuantStub(), nn.Identity()).eval()
    compiled = qc.compile(module, calibration=feeds, scheme="int8", recipe="fast")
    assert _quantized(compiled) == {"inside.0", "inside.2", "behind"}


def test_a_stub_at_the_output_is_no_output_of_its_own(feeds: list[Tensor]) -> None:
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.begin, self.end = qc.QuantStub(), qc.DeQuantStub()
            self.before = nn.Linear(16, 16)

        def forward(self, x: Tensor) -> Any:
            return self.end(self.before(self.begin(x)))

    compiled = qc.compile(Whole().eval(), calibration=feeds, scheme="int8", recipe="fast")
    assert _quantized(compiled) == {"before"}
    assert compiled(feeds[0]).shape == (4, 16)


def test_modules_are_kept_float(feeds: list[Tensor]) -> None:
    module = Marked(nn.Identity(), nn.Identity()).eval()
    qc.keep_float(module.inside)
    compiled = qc.compile(module, calibration=feeds, scheme="int8", recipe="fast")
    assert _quantized(compiled) == {"before", "behind"}
    inner = module.inside[0]
    assert isinstance(inner, nn.Module)
    wrapped = qc.FloatModule(inner)
    assert torch.equal(wrapped(feeds[0]), inner(feeds[0]))


def test_an_override_says_otherwise(feeds: list[Tensor]) -> None:
    module = Marked(qc.QuantStub(), qc.DeQuantStub()).eval()
    compiled = qc.compile(
        module, calibration=feeds, scheme="int8", overrides={"before": "int8"}, recipe="fast"
    )
    assert _quantized(compiled) == {"before", "inside.0", "inside.2"}


def test_fake_quantization_of_another_tool_gives_its_scales(feeds: list[Tensor]) -> None:
    ao = pytest.importorskip("torch.ao.quantization")
    module = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    wrapped = ao.QuantWrapper(module).train()
    wrapped.qconfig = ao.get_default_qat_qconfig("x86")
    prepared = ao.prepare_qat(wrapped)
    for feed in feeds:
        prepared(feed)
    prepared.eval()
    prepared.apply(ao.disable_observer)
    compiled = qc.compile(prepared, example_inputs=(feeds[0],), scheme="int8", recipe="fast")
    placement = compiled.program.placement
    assert placement is not None
    scales = {float(params.scale) for params in placement.values.values()}
    theirs = prepared.quant.activation_post_process.scale.item()
    assert any(abs(scale - theirs) < 1e-9 for scale in scales)
    with torch.no_grad():
        expected = prepared(feeds[0]).numpy()
    step = prepared.module[2].activation_post_process.scale.item()
    assert np.abs(compiled(feeds[0]).numpy() - expected).max() < 2.1 * step
