"""Prepared modules in a training loop: names, gradients, BatchNormalization, dropout, state."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import qcompiler as qc
from qcompiler.errors import CalibrationError, ConfigurationError, LegalityError
from qcompiler.lowering.qat.module import QatModule
from qcompiler.lowering.qat.quantizer import Quantizer


@pytest.fixture
def without_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantizers let everything pass, so that a float module is the oracle of the rest."""
    monkeypatch.setattr(Quantizer, "forward", lambda self, x: x)


def test_parameters_are_the_sources(prepared: QatModule, small_net: nn.Module) -> None:
    own = dict(small_net.named_parameters())
    found = {k: v for k, v in prepared.named_parameters() if "_quantizer" not in k}
    assert set(found) == set(own)
    assert all(torch.equal(found[name], own[name]) for name in own)
    assert prepared.load_state_dict(small_net.state_dict()).missing_keys == []


def test_every_parameter_learns(prepared: QatModule, images: list[Tensor]) -> None:
    prepared(images[0]).square().sum().backward()
    for name, each in prepared.named_parameters():
        assert each.grad is not None or not each.requires_grad, name
        if "offset" not in name and each.requires_grad:
            assert each.grad is not None
            assert each.grad.abs().sum() > 0, name


def test_in_training_it_normalizes_as_the_source_does(
    without_grids: None, small_net: nn.Module, images: list[Tensor]
) -> None:
    module = qc.prepare_qat(small_net, calibration=images)
    source = copy.deepcopy(small_net).train()
    for each in (module, source):
        for part in each.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
    for _ in range(3):
        ours, theirs = module(images[0]), source(images[0])
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        ours.square().mean().backward()
        theirs.square().mean().backward()
    state, own = module.state_dict(), source.state_dict()
    for name in ("norm.running_mean", "norm2.running_var"):
        torch.testing.assert_close(state[name], own[name], rtol=1e-4, atol=1e-5)
        assert not torch.equal(own[name], small_net.state_dict()[name])
    gradients = dict(source.named_parameters())
    for name, parameter in module.named_parameters():
        if "_quantizer" not in name:
            torch.testing.assert_close(parameter.grad, gradients[name].grad, rtol=2e-3, atol=2e-4)


def test_frozen_it_normalizes_as_the_source_in_evaluation(
    without_grids: None, small_net: nn.Module, images: list[Tensor]
) -> None:
    module = qc.prepare_qat(small_net, calibration=images).freeze_batch_norm()
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    before = module.state_dict()["norm.running_mean"].clone()
    torch.testing.assert_close(module(images[1]), small_net(images[1]), rtol=1e-4, atol=1e-4)
    assert torch.equal(module.state_dict()["norm.running_mean"], before)
    live = module.freeze_batch_norm(False)
    assert not torch.allclose(live(images[1]), small_net(images[1]), rtol=1e-3, atol=1e-3)


def test_dropout_drops_in_training_only(prepared: QatModule, images: list[Tensor]) -> None:
    prepared.freeze_batch_norm()
    torch.manual_seed(0)
    once, again = prepared(images[0]), prepared(images[0])
    assert not torch.equal(once, again)
    prepared.eval()
    assert torch.equal(prepared(images[0]), prepared(images[0]))


def test_dropout_of_channels_is_told(images: list[Tensor]) -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout2d(0.5), nn.Flatten(), nn.Linear(144, 5))
    notes = qc.prepare_qat(net.eval(), calibration=images).record.notes
    assert any("Dropout2d is not kept" in each for each in notes)


def test_a_state_dict_goes_on_where_it_stopped(
    prepared: QatModule, small_net: nn.Module, images: list[Tensor]
) -> None:
    optimizer = torch.optim.Adam(prepared.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        prepared(images[0]).square().mean().backward()
        optimizer.step()
    prepared.freeze_batch_norm().eval()
    kept = io.BytesIO()
    torch.save(prepared.state_dict(), kept)
    kept.seek(0)
    fresh = qc.prepare_qat(small_net, calibration=images[:2])
    assert not torch.equal(fresh.eval()(images[2]), prepared(images[2]))
    fresh.load_state_dict(torch.load(kept, weights_only=True))
    assert torch.equal(fresh(images[2]), prepared(images[2]))
    fresh.train()
    torch.manual_seed(1)
    ours = fresh(images[2])
    prepared.train()
    torch.manual_seed(1)
    assert torch.equal(ours, prepared(images[2]))  # frozen as well


def test_a_damaged_state_dict_is_told(prepared: QatModule) -> None:
    state = prepared.state_dict()
    del state["head_weight_quantizer.step"]
    with pytest.raises(RuntimeError, match=r"head_weight_quantizer\.step"):
        prepared.load_state_dict(state)


def test_copies_and_pickles_compute_the_same(prepared: QatModule, images: list[Tensor]) -> None:
    prepared.eval()
    kept = io.BytesIO()
    torch.save(prepared, kept)
    kept.seek(0)
    for twin in (copy.deepcopy(prepared), torch.load(kept, weights_only=False)):
        assert torch.equal(twin(images[0]), prepared(images[0]))
        with torch.no_grad():
            next(twin.parameters()).add_(1.0)
        assert not torch.equal(twin(images[0]), prepared(images[0]))
        compiled = qc.compile(twin, example_inputs=(images[0],))
        assert compiled.plan.precisions == prepared.record.plan.precisions


def test_other_types_train(prepared: QatModule, images: list[Tensor]) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = prepared(images[0]).float().square().mean()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in prepared.parameters() if p.grad is not None)
    double = copy.deepcopy(prepared).double().eval()
    assert double(images[0].double()).dtype is torch.float64


def test_it_trains_under_distributed_data_parallel(
    prepared: QatModule, images: list[Tensor], tmp_path: Path
) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1
    )
    try:
        parallel = nn.parallel.DistributedDataParallel(prepared)
        optimizer = torch.optim.SGD(parallel.parameters(), lr=1e-3)
        for _ in range(2):  # the second one fails if a parameter was not reached
            optimizer.zero_grad()
            parallel(images[0]).square().mean().backward()
            optimizer.step()
    finally:
        torch.distributed.destroy_process_group()
    single = nn.DataParallel(prepared)
    assert single(images[0]).shape == (8, 5)


def test_an_onnx_file_trains_under_its_own_names(
    digits_path: Path, digits_onnx: onnx.ModelProto, digits_feeds: list[dict[str, Any]]
) -> None:
    module = qc.prepare_qat(digits_path, calibration=digits_feeds[:2])
    names = {each.name for each in digits_onnx.graph.initializer}
    found = {name for name, _ in module.named_parameters() if "_quantizer" not in name}
    assert found <= names
    assert "head.weight" in found
    image = torch.from_numpy(digits_feeds[0]["image"])
    assert torch.equal(module(image=image), module(image))
    module(image).sum().backward()
    with pytest.raises(ConfigurationError, match="takes image"):
        module(image, image)


def test_second_names_stay_second_names(images: list[Tensor]) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(64, 64)
            self.two = nn.Linear(64, 64)
            self.two.weight = self.one.weight

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.two(torch.relu(self.one(x.flatten(1))))
            return found

    module = qc.prepare_qat(Tied(), calibration=images)
    state = module.state_dict()
    assert state["one.weight"].data_ptr() == state["two.weight"].data_ptr()
    assert module.load_state_dict(Tied().state_dict()).missing_keys == []
    assert len([n for n, _ in module.named_parameters() if n.endswith(".weight")]) == 1


def test_what_cannot_be_prepared_says_why(small_net: nn.Module, images: list[Tensor]) -> None:
    with pytest.raises(CalibrationError, match="scales need calibration data"):
        qc.prepare_qat(small_net, example_inputs=(images[0],))
    with pytest.raises(ConfigurationError, match="'live', 'folded'"):
        qc.prepare_qat(small_net, calibration=images, batch_norm="dead")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="no region of this model can run"):
        qc.prepare_qat(small_net, calibration=images, scheme="float32")
    with pytest.raises(LegalityError, match="no region of this model can run as 'int4' on fbgemm"):
        qc.prepare_qat(small_net, "fbgemm", calibration=images, scheme="int4")
    with pytest.raises(ConfigurationError, match="no region has a grid that can be trained"):
        qc.prepare_qat(small_net, calibration=images, scheme="dynamic")


def test_outputs_are_near_the_sources(
    prepared: QatModule, small_net: nn.Module, images: list[Tensor]
) -> None:
    with torch.no_grad():
        ours, theirs = prepared.eval()(images[0]), small_net(images[0])
    noise = float((ours - theirs).square().mean() / theirs.square().mean())
    assert 0 < noise < 0.01  # 20 dB, eight layers of 8 bits
    assert np.isfinite(noise)
