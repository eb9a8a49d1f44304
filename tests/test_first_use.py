"""What a first user does: loaders with labels, feeds that are wrong, overrides, names, prints."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import qcompiler as qc
from qcompiler.errors import ConfigurationError, FeedError, QCompilerError, nearest
from qcompiler.frontends import load
from qcompiler.frontends.torch_arguments import example_call
from qcompiler.ir.plan import Choice, Plan
from qcompiler.report.report import Report

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(4)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(x))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = Block(), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.encoder(x).mean((2, 3)))
        return result


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


def _compiled(net: Any, feeds: Any, **options: Any) -> qc.Compiled:
    options = {"scheme": "float32", "recipe": "fast"} | options
    return qc.compile(net, calibration=feeds, **options)


@pytest.mark.parametrize(
    "feed", [(IMAGES, LABELS), [IMAGES, LABELS], {"x": IMAGES, "label": LABELS}]
)
def test_labels_are_left_out_and_that_is_said_once(net: nn.Module, feed: Any) -> None:
    compiled = _compiled(net, [feed] * 3)
    with torch.no_grad():
        assert torch.allclose(compiled(feed), net(IMAGES), atol=1e-4)
    assert (
        len(
            [
                each
                for each in compiled.report.warnings
                if "of each feed" in each or "left out" in each
            ]
        )
        == 1
    )


def test_an_entry_that_looks_like_an_input_is_not_left_out(net: nn.Module) -> None:
    with pytest.raises(FeedError, match="has 2 entries, the model takes 1"):
        _compiled(net, [(IMAGES, IMAGES)])
    with pytest.raises(FeedError, match="has 2 entries, the model takes 1"):
        _compiled(load(net, (IMAGES,)).model, [(IMAGES.numpy(), IMAGES.numpy())])


def test_a_call_leaves_nothing_out_that_calibration_did_not(net: nn.Module) -> None:
    compiled = _compiled(net, [IMAGES])
    for arguments in [((IMAGES, LABELS),), (IMAGES, LABELS)]:
        with pytest.raises(FeedError):
            compiled(*arguments)


@pytest.mark.parametrize(
    ("feed", "hint"),
    [
        (IMAGES.permute(0, 2, 3, 1), r"permute\(0, 3, 1, 2\)"),
        (IMAGES[:, :1], "takes 3 channels, axis 1 has 1"),
        (IMAGES[0].permute(1, 2, 0), "batch axis is missing"),
        ((IMAGES * 9).to(torch.uint8), "uint8 images"),
        (np.float32(3), "numpy scalar"),
        ("image.jpg", "load the file it names"),
        ([IMAGES[0].numpy()] * 3, "batch axis is missing|stack"),
        (np.array([IMAGES.numpy(), None], dtype=object), "array of objects"),
        ({"image": IMAGES}, "forward takes x"),
    ],
)
def test_a_feed_that_the_module_cannot_run_is_told_as_that(
    net: nn.Module, feed: Any, hint: str
) -> None:
    with pytest.raises(QCompilerError) as caught:
        _compiled(net, [feed])
    assert "first feed" in str(caught.value)
    assert re.search(hint, caught.value.fix or "")
    assert "torch.cond" not in str(caught.value)


@pytest.mark.parametrize("double", [IMAGES.double(), IMAGES.double().numpy()])
def test_float64_feeds_are_taken(net: nn.Module, double: Any) -> None:
    assert _compiled(net, [double]).run(double)[0].dtype == np.float32


def test_the_module_and_the_feed_stay_as_they_are() -> None:
    class Counting(Block):
        count: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.count += 1
            return super().forward(x)

    module = Counting().eval()
    example_call(module, (IMAGES,))
    assert float(module.count) == 0


def test_evaluate_runs_what_the_model_returns(net: nn.Module) -> None:
    seen: list[Any] = []

    def score(run: Callable[[Any], Any]) -> float:
        seen.append(run((IMAGES, LABELS)))
        return 1.0

    _compiled(net, [(IMAGES, LABELS)], evaluate=score)
    assert isinstance(seen[0], torch.Tensor)


def test_axes_in_which_feeds_differ_stay_open(net: nn.Module) -> None:
    feeds = [torch.randn(2, 3, 8, width) for width in (8, 10, 12)]
    compiled = _compiled(net, iter(feeds))
    wide = torch.randn(1, 3, 8, 20)
    with torch.no_grad():
        assert torch.allclose(compiled(wide), net(wide), atol=1e-4)


def test_dynamic_reaches_the_capture(net: nn.Module) -> None:
    fixed = _compiled(net, [IMAGES], dynamic=False)
    with pytest.raises(FeedError, match="fixed dimension"):
        fixed(IMAGES[:2])
    with pytest.raises(ConfigurationError, match="dynamic is for torch modules"):
        load(load(net, (IMAGES,)), dynamic=True)


def test_an_int8_island_in_a_float_scheme(net: nn.Module) -> None:
    compiled = _compiled(net, [IMAGES] * 3, overrides={"encoder": "int8"})
    rows = {row.module: row.precision for row in compiled.report.regions}
    assert rows["encoder.conv"] == "int8"
    assert rows["head"] == "float32"


def test_an_override_names_what_it_does_not_reach(net: nn.Module) -> None:
    compiled = _compiled(net, [IMAGES], overrides={"*": "int8-dynamic"})
    assert compiled.plan.precision(_key(compiled, "head")) == "int8-dynamic"
    (warning,) = [each for each in compiled.report.warnings if "does not apply" in each]
    assert "encoder.conv" in warning
    with pytest.raises(ConfigurationError, match=r"did you mean 'encoder\.conv'"):
        _compiled(net, [IMAGES], overrides={"encoder.cnov": "int8"})
    with pytest.raises(ConfigurationError, match="not legal"):
        _compiled(net, [IMAGES], overrides={"encoder": "int8-dynamic"})


def _key(compiled: qc.Compiled, module: str) -> str:
    return next(row.region for row in compiled.report.regions if row.module == module)


def test_what_is_printed_is_short(net: nn.Module) -> None:
    compiled = _compiled(net, [IMAGES])
    own = (compiled, compiled.report, compiled.plan, compiled.program, compiled.program.signature)
    for each in (*own, compiled.debug([IMAGES])):
        assert len(repr(each)) < 300
        assert len(str(each)) < 300
    assert len(compiled._repr_html_()) < 1000
    assert "<script" not in Report("<script>", "t")._repr_html_()
    assert repr(Plan("t", {"a": Choice("int8"), "b": Choice("int8")})) == "<Plan for t: 2 int8>"


@pytest.mark.parametrize(
    ("written", "meant"),
    [("ort", "onnxruntime"), ("trt", "tensorrt"), ("ov", "openvino"), ("onnx", "onnxruntime"),
     ("fbgem", "fbgemm"), ("zzz", None)],
)  # fmt: skip
def test_names_are_guessed(written: str, meant: str | None) -> None:
    assert nearest(written, qc.targets()) == meant


@pytest.mark.parametrize(
    ("written", "meant"), [("int-8", "int8"), ("INT8", "int8"), ("int4-weight", "int4-weights")]
)
def test_schemes_are_guessed(net: nn.Module, written: str, meant: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _compiled(net, [IMAGES], scheme=written)
    assert f"did you mean '{meant}'?" in str(caught.value)


@pytest.mark.parametrize("given", ["data.npz", {"x": IMAGES}, 3])
def test_calibration_that_is_no_iterable_of_feeds(net: nn.Module, given: Any) -> None:
    with pytest.raises(qc.errors.CalibrationError, match="iterable of feeds"):
        _compiled(net, given)
