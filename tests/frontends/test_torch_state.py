"""What a call changes is told by name and put back; what nobody reads is left alone."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402 - only where torch is

from qcompiler.frontends import load  # noqa: E402


class Stream(nn.Module):
    memory: Tensor
    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("memory", torch.zeros(1, 4))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        y = x + self.memory
        self.memory.copy_(y.mean(0, keepdim=True))
        return y


def test_state_that_results_depend_on_is_told() -> None:
    found = load(nn.Sequential(nn.Linear(4, 4), Stream()), torch.randn(3, 4)).provenance.warnings
    assert len(found) == 1
    assert "buffer '1.memory'" in found[0]


def test_a_module_without_memory_says_nothing() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval()
    assert load(module, torch.randn(3, 4)).provenance.warnings == ()


class Counting(nn.Module):
    """State of a kind in a place that torch.export does not look at."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.kind = kind
        self.number, self.seen, self.scale = 1, [1], torch.ones(4)
        self.cache: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "number":
            self.number += 1
        elif self.kind == "seen":
            self.seen.append(1)
        elif self.kind == "scale":
            self.scale = self.scale + 1
        elif self.kind == "layer.weight":
            self.layer.weight.mul_(0.5)
        elif self.cache is None:
            self.cache = torch.ones(4)
        result: Tensor = self.layer(x) * self.number * len(self.seen) * self.scale
        return result


@pytest.mark.parametrize("kind", ["number", "seen", "scale", "layer.weight", "cache"])
def test_state_outside_of_buffers(kind: str) -> None:
    module = Counting(kind).eval()
    weight = module.layer.weight.detach().clone()
    found = load(module, torch.randn(3, 4)).provenance.warnings
    assert [f"'{kind}' changes from call to call" in each for each in found] == [True] * (
        kind != "cache"
    )
    assert (module.number, module.seen, module.cache) == (1, [1], None)
    torch.testing.assert_close(module.scale, torch.ones(4))
    torch.testing.assert_close(module.layer.weight.detach(), weight)


def test_training_mode_is_told_where_it_matters() -> None:
    layers = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)), nn.Sequential(nn.Linear(4, 4))
    dropped, plain = (load(each.train(), torch.randn(3, 4)) for each in layers)
    assert ["training mode ('1', a Dropout)" in each for each in dropped.provenance.warnings] == [
        True
    ]
    assert plain.provenance.warnings == ()


def test_data_parallel_is_its_module() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval()
    program = load(nn.DataParallel(module), torch.randn(3, 4))
    assert [node.op_type for node in program.model.graph] == [
        node.op_type for node in load(module, torch.randn(3, 4)).model.graph
    ]
