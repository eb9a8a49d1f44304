"""Fine-tuning without labels: it comes nearer to the teacher, and never leaves it worse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import qcompiler as qc  # noqa: E402
from qcompiler.errors import CalibrationError, ConfigurationError  # noqa: E402


def _loss(run: Any, teacher: Any, feeds: list[Any]) -> float:
    """Kullback-Leibler divergence of rows by its definition, in numpy."""
    losses = []
    for feed in feeds:
        ours, theirs = (np.asarray(each, np.float64) for each in (run(feed), teacher(feed)))
        p, q = (np.exp(each - each.max(1, keepdims=True)) for each in (theirs, ours))
        p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
        losses.append((p * np.log(p / q)).sum(1).mean())
    return float(np.mean(losses))


def test_few_bits_come_nearer_to_the_teacher(digits_module: Any, digits_feeds: list[Any]) -> None:
    images = [torch.from_numpy(each["image"]) for each in digits_feeds]
    train, held = images[:6], images[6:]
    module = qc.prepare_qat(digits_module, calibration=train, scheme="ternary")

    def plain(x: Any) -> Any:
        with torch.no_grad():
            return digits_module(x).numpy()

    def quantized(x: Any) -> Any:
        with torch.no_grad():
            return module(x).numpy()

    module.eval()
    before = _loss(quantized, plain, held)
    found = qc.distill(module, digits_module, train, seconds=600.0, steps=24, rate=1e-3)
    assert found.steps == 24
    assert found.after < found.before
    assert not module.training
    assert found.after == pytest.approx(_loss(quantized, plain, train), rel=1e-3)
    assert _loss(quantized, plain, held) < before


def test_it_is_never_left_worse(digits_module: Any, digits_feeds: list[Any]) -> None:
    images = [torch.from_numpy(each["image"]) for each in digits_feeds[:2]]
    module = qc.prepare_qat(digits_module, calibration=images)
    found = qc.distill(
        module, digits_module, images, seconds=600.0, steps=2, rate=10.0, loss="values"
    )
    assert found.after <= found.before
    with torch.no_grad():
        ours, theirs = module(images[0]), digits_module(images[0])
    assert float((ours - theirs).square().mean() / theirs.square().mean()) < 0.1


def test_what_makes_no_sense_is_refused(digits_module: Any, digits_feeds: list[Any]) -> None:
    module = qc.prepare_qat(digits_module, calibration=digits_feeds[:1])
    with pytest.raises(CalibrationError, match="no feeds"):
        qc.distill(module, digits_module, [])
    with pytest.raises(ConfigurationError, match="positive"):
        qc.distill(module, digits_module, digits_feeds[:1], seconds=0)
    wrong: Any = "labels"
    with pytest.raises(ConfigurationError, match="loss is"):
        qc.distill(module, digits_module, digits_feeds[:1], loss=wrong)


@pytest.mark.parametrize("labelled", [True, False])
def test_labels_of_a_loader_are_left_out(
    labelled: bool, digits_module: Any, digits_feeds: list[Any]
) -> None:
    images = torch.from_numpy(digits_feeds[0]["image"])
    loader = [(images, torch.arange(len(images)))]
    calibration = loader if labelled else [images]
    module = qc.prepare_qat(digits_module, calibration=calibration, target="fbgemm")
    assert qc.distill(module, digits_module, loader, steps=1).steps == 1

    def taught(x: Any) -> Any:
        return digits_module(x)

    if labelled:
        assert qc.distill(module, taught, loader, steps=1).steps == 1
    else:
        with pytest.raises(TypeError, match="positional argument"):
            qc.distill(module, taught, loader, steps=1)
