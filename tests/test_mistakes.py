"""Mistakes of a first user: each ends in a right result, or in one error of ours that helps.

An error helps when it says what is wrong and names the argument, input or value, and why or what to
do about it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import qcompiler as qc
from qcompiler.errors import ExportError, FeedError, QCompilerError

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
ARRAY = IMAGES.numpy()
LABELS = torch.arange(4)
EXACT = 1e-4
"""Float reassociation, of a few hundred additions of values near 1."""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(torch.relu(self.conv(x)).mean((2, 3)))
        return result


@dataclass(frozen=True)
class Case:
    """What a user writes, and how it ends: None is a right result, else words of the error."""

    feeds: Callable[[], Any]
    words: tuple[str, ...] | None = None
    options: tuple[tuple[str, Any], ...] = ()
    torch: bool = True
    onnx: bool = True


def case(feeds: Callable[[], Any], *words: str, **options: Any) -> Case:
    return Case(feeds, words or None, tuple(options.items()))


def only(which: str, given: Case) -> Case:
    return Case(given.feeds, given.words, given.options, which == "torch", which == "onnx")


class _Frame:
    """As a pandas frame, which is iterated by column names."""

    def __init__(self) -> None:
        self.columns = ["a", "b"]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def to_numpy(self) -> Any:
        return np.zeros((2, 2))


class _Set:
    """As torch's data sets: one sample by its number."""

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, index: int) -> Any:
        return IMAGES[index], LABELS[index]


def _image() -> Any:
    return pytest.importorskip("PIL.Image").new("RGB", (8, 8))


def _generator(times: int = 3) -> Iterator[Any]:
    yield from [ARRAY] * times


def _spent() -> Iterator[Any]:
    generator = _generator()
    list(generator)
    return generator


def _loader(batch: int = 2) -> Any:
    return DataLoader(TensorDataset(IMAGES, LABELS), batch_size=batch)


def _score(run: Callable[[Any], Any]) -> float:
    found = run(ARRAY)
    return -float(np.abs(np.asarray(found[0] if isinstance(found, list) else found)).max())


def _broken(array: Any, value: float) -> Any:
    found = array.copy()
    found.flat[0] = value
    return found


FEEDS: dict[str, Case] = {
    "arrays": case(lambda: [ARRAY]),
    "tensors": case(lambda: [IMAGES]),
    "tuples": case(lambda: [(ARRAY,)]),
    "dicts": case(lambda: [{"x": ARRAY}]),
    "generator": case(_generator),
    "tuple of feeds": case(lambda: (ARRAY, ARRAY)),
    "one whole array": case(lambda: ARRAY[:, None]),
    "iterator of float64": case(lambda: [ARRAY.astype(np.float64)]),
    "a loader": case(_loader),
    "a loader that drops the last": case(lambda: DataLoader(TensorDataset(IMAGES), 2)),
    "labels first": case(lambda: [(LABELS, IMAGES)], "first feed|input|entries"),
    "not contiguous": case(lambda: [ARRAY[:, :, ::-1, ::-1]]),
    "read only": case(lambda: [np.broadcast_to(ARRAY[:1], ARRAY.shape)]),
    "requires grad": case(lambda: [IMAGES.clone().requires_grad_()]),
    "other byte order": case(lambda: [ARRAY.astype(">f4")]),
    "nothing": case(list, "calibration data is empty"),
    "empty generator": case(lambda: _generator(0), "calibration data is empty"),
    "a generator read twice": case(_spent, "calibration data is empty"),
    "None as a feed": case(lambda: [None], "feed"),
    "a sample instead of a batch": case(lambda: [ARRAY[0]], "feed|axes|rank|dimensions"),
    "samples as a list": case(lambda: [list(ARRAY)], "stack|batch axis"),
    "channels last": case(lambda: [ARRAY.transpose(0, 2, 3, 1)], "permute|transpose|dimension"),
    "one channel": case(lambda: [ARRAY[:, :1]], "channel|dimension"),
    "bytes": case(lambda: [(ARRAY * 9).astype(np.uint8)], "uint8"),
    "integers": case(lambda: [(ARRAY * 9).astype(np.int64)], "int64"),
    "text": case(lambda: ["image.jpg"], "image.jpg|str"),
    "paths": case(lambda: [Path("image.jpg")], "image.jpg|Path"),
    "an image": case(lambda: [_image()], "Image|array|uint8"),
    "a numpy scalar": case(lambda: [np.float32(3)], "scalar|axes|rank|dimensions"),
    "a number": case(lambda: [3.0], "feed|number|axes"),
    "objects": case(lambda: [np.array([ARRAY, None], dtype=object)], "object"),
    "wrong name": case(lambda: [{"image": ARRAY}], "x"),
    "one name too many": case(lambda: [{"x": ARRAY, "y": ARRAY}]),
    "two entries": case(lambda: [(ARRAY, ARRAY)], "2 entries"),
    "empty dict": case(lambda: [{}], "x"),
    "empty tuple": case(lambda: [()], "x|no|0 entries"),
    "empty batch": only("onnx", case(lambda: [ARRAY[:0]])),
    "a frame": case(_Frame, "feed|str"),
    "a frame in a list": case(lambda: [_Frame()], "feed|Frame"),
    "a masked array": case(lambda: [np.ma.masked_array(ARRAY, ARRAY > 2)], "masked", "filled"),
    "a data set": case(_Set, "DataLoader"),
    "a path": case(lambda: "data.npz", "path 'data.npz'"),
    "a Path": case(lambda: Path("data.npz"), "path 'data.npz'"),
    "one dict": case(lambda: {"x": ARRAY}, "one dict"),
    "a number of samples": case(lambda: 100, "iterable of feeds"),
    "a function": case(lambda: _generator, "iterable of feeds"),
    "NaN": case(lambda: [_broken(ARRAY, np.nan)], "NaN", "sample 0", scheme="int8"),
    "second feed differs in rank": case(lambda: [ARRAY, ARRAY[0]], "feed|axes|dimensions|rank"),
    "second feed is another kind": case(lambda: [ARRAY, {"z": ARRAY}], "x"),
    "meta tensor": case(lambda: [IMAGES.to("meta")], "meta"),
    "sparse tensor": case(lambda: [IMAGES.to_sparse()], "sparse|dense|layout"),
}
OPTIONS: dict[str, Case] = {
    "wrong scheme": case(lambda: [ARRAY], "mean 'int8'", scheme="int-8"),
    "scheme of another type": case(lambda: [ARRAY], "no scheme 8", scheme=8),
    "wrong target": case(lambda: [ARRAY], "mean 'onnxruntime'", target="ort"),
    "no target": case(lambda: [ARRAY], "no target", target=None),
    "wrong recipe": case(lambda: [ARRAY], "mean 'fast'", recipe="fst"),
    "negative budget": case(lambda: [ARRAY], "budget", budget=-1),
    "budget as text": case(lambda: [ARRAY], "budget", budget="10s"),
    "max_loss as text": case(lambda: [ARRAY], "max_loss", max_loss="1%"),
    "objective": case(lambda: [ARRAY], "objective|speed", objective="speed"),
    "override of nothing": case(lambda: [ARRAY], "nothing", overrides={"nothing": "int8"}),
    "override with a wrong precision": case(lambda: [ARRAY], "int9", overrides={"*": "int9"}),
    "overrides as a list": case(lambda: [ARRAY], "overrides", overrides=["head"]),
    "plan that is not there": case(lambda: [ARRAY], "plan.json", plan="plan.json"),
    "plan as a dict": case(lambda: [ARRAY], "plan must be", plan={"conv": "int8"}),
    "evaluate as a number": case(lambda: [ARRAY], "evaluate", evaluate=0.7),
    "evaluate without run": case(lambda: [ARRAY], "function of `run`", evaluate=lambda: 1.0),
    "evaluate returns None": case(
        lambda: [ARRAY], "evaluate returned None", evaluate=lambda run: None, scheme="int8"
    ),
    "evaluate returns an array": case(
        lambda: [ARRAY], "evaluate returned", evaluate=lambda run: np.zeros(3), scheme="int8"
    ),
    "evaluate": case(lambda: [ARRAY], evaluate=_score, scheme="int8"),
    "wrong variant": case(lambda: [ARRAY], "mean 'correct-bias'", variants=["corect-bias"]),
    "variants as a text": case(lambda: [ARRAY], variants="correct-bias"),
    "pipeline as a number": case(lambda: [ARRAY], "pipeline", pipeline=3),
    "pipeline with a wrong name": case(lambda: [ARRAY], "dead-code", pipeline="dead-cod"),
    "checkpoint as a number": case(lambda: [ARRAY], "checkpoint", checkpoint=3),
    "executor as a number": case(lambda: [ARRAY], "executor is 4", "submit", executor=4),
    "int8 without data": case(lambda: None, "needs calibration data", scheme="int8"),
    "axes by name": only(
        "torch", case(lambda: [ARRAY], dynamic={"x": {0: "batch"}})
    ),
    "axes of no argument": only(
        "torch", case(lambda: [ARRAY], "dynamic=", "axes of forward", dynamic={"y": {2: "height"}})
    ),
    "an axis too far": only(
        "torch", case(lambda: [ARRAY], "dynamic=", "axes of forward", dynamic={"x": {7: "depth"}})
    ),
    "axes that are fixed": only(
        "torch", case(lambda: [ARRAY], "dynamic=", "axes of forward", dynamic={"x": {1: "c"}})
    ),
    "dynamic of a file": only("onnx", case(lambda: [ARRAY], "torch modules", dynamic=True)),
}  # fmt: skip
CASES = {
    f"{source}: {name}": (source, each)
    for name, each in (FEEDS | OPTIONS).items()
    for source in ("torch", "onnx")
    if getattr(each, source)
}


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def models(net: nn.Module) -> dict[str, Any]:
    file: Any = io.BytesIO()
    torch.onnx.export(net, (IMAGES,), file, input_names=["x"], dynamo=False,
                      dynamic_axes={"x": {0: "n"}})  # fmt: skip
    return {"torch": net, "onnx": onnx.load_from_string(file.getvalue())}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_taken_or_told(name: str, models: dict[str, Any], net: nn.Module) -> None:
    source, given = CASES[name]
    options = {"scheme": "float32", "recipe": "fast", "example_inputs": None} | dict(given.options)
    if source == "torch" and given.feeds() is None:
        options["example_inputs"] = (IMAGES,)
    if given.words is not None:
        with pytest.raises(QCompilerError) as caught:
            qc.compile(models[source], calibration=given.feeds(), **options)
        told = str(caught.value)
        for word in given.words:
            assert re.search(word, told), f"{word!r} is not in: {told}"
        assert "\n" in told, "neither a place, nor a reason, nor a fix"
        assert len(told.splitlines()) < 25
        return
    compiled = qc.compile(models[source], calibration=given.feeds(), **options)
    if options["scheme"] == "float32":
        with torch.no_grad():
            wanted = net(IMAGES).numpy()
        np.testing.assert_allclose(compiled.run(ARRAY)[0], wanted, atol=EXACT)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (Net, r"instance .* Net\(\)"),
        (Net().state_dict(), "load_state_dict"),
        (b"onnx", "path"),
        (Net().to("meta"), "meta"),
    ],
    ids=["class", "weights", "bytes", "meta"],
)
def test_what_is_no_model_is_told_what_was_meant(model: Any, told: str) -> None:
    with pytest.raises(QCompilerError, match=told):
        qc.compile(model, calibration=[IMAGES], scheme="float32")


class _Raising(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise LookupError("no such layer")


class _Silent(nn.Module):
    def forward(self, x: torch.Tensor) -> None:
        torch.relu(x)


def test_what_forward_raises_is_the_cause_and_its_line_is_named() -> None:
    with pytest.raises(FeedError, match="LookupError: no such layer") as caught:
        qc.compile(_Raising(), calibration=[IMAGES])
    assert isinstance(caught.value.__cause__, LookupError)
    assert re.search(r"test_mistakes\.py:\d+", str(caught.value.where))


def test_a_module_that_returns_no_tensor_is_told_so() -> None:
    with pytest.raises(ExportError, match="returns no tensor"):
        qc.compile(_Silent(), calibration=[IMAGES])


def test_equal_names_of_axes_are_one_axis() -> None:
    net = nn.Conv2d(3, 4, 3).eval()
    example = torch.zeros(2, 3, 8, 8)
    program = qc.load(net, example, dynamic={"input": {0: "batch", 2: "side", 3: "side"}})
    (spec,) = program.signature.inputs
    assert spec.shape is not None
    assert spec.shape[2] == spec.shape[3]
    assert not isinstance(spec.shape[2], int)
