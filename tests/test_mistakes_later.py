"""Mistakes behind `compile`, and with the other public calls: each is one error that helps."""

from __future__ import annotations

import copy
import io
import os
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import qcompiler as qc
from qcompiler.errors import QCompilerError, RegistryError
from qcompiler.ir.signature import Feed

Given = tuple[qc.Compiled, Path]


@pytest.fixture(scope="module")
def given(digits_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Given:
    """Something compiled, and a folder with a copy of its source and its artifact."""
    folder = tmp_path_factory.mktemp("later")
    source = folder / "m.onnx"
    source.write_bytes(digits_path.read_bytes())
    feeds: list[Feed] = [
        {"image": np.random.default_rng(i).normal(size=(2, 1, 32, 32)).astype(np.float32)}
        for i in range(3)
    ]
    compiled = qc.compile(source, calibration=feeds, scheme="int8", recipe="fast", budget=0)
    compiled.save(folder / "out.onnx")
    (folder / "t.zip").write_bytes(b"PK\3\4 and more")
    (folder / "other.pkl").write_bytes(pickle.dumps([1, 2]))
    return compiled, folder


def _raising() -> Iterator[Any]:
    raise LookupError("no such image")
    yield


def _linked(how: Callable[[Path, Path], None], name: str) -> Callable[[qc.Compiled, Path], Any]:
    def call(compiled: qc.Compiled, folder: Path) -> Any:
        how(folder / "m.onnx", folder / name)
        return compiled.save(folder / name)

    return call


def _pipe(compiled: qc.Compiled, folder: Path) -> Any:
    os.mkfifo(folder / "pipe")
    return compiled.save(folder / "pipe")


SMALL = np.zeros((1, 32, 32), np.float32)
WRONG: dict[str, tuple[Callable[[qc.Compiled, Path], Any], str]] = {
    "run nothing": (lambda c, d: c.run(None), "NoneType was fed"),
    "run a text": (lambda c, d: c.run("cat.png"), "load what it names"),
    "run a sample": (lambda c, d: c.run(SMALL), "rank differs"),
    "call with a wrong name": (lambda c, d: c(picture=SMALL[None]), "image"),
    "a point as text": (lambda c, d: c.at("best"), "no point 'best'"),  # type: ignore[arg-type]
    "a point that is not": (lambda c, d: c.at(99), "no point 99"),
    "save to None": (lambda c, d: c.save(None), "path"),  # type: ignore[arg-type]
    "save to an open file": (lambda c, d: c.save(io.BytesIO()), "path"),  # type: ignore[arg-type]
    "save to a folder": (lambda c, d: c.save(d), "it is a folder"),
    "save to no folder": (lambda c, d: c.save(d / "no" / "o.onnx"), "no folder"),
    "save onto the model": (lambda c, d: c.save(d / "m.onnx"), "what was compiled"),
    "save onto it by a symlink": (_linked(lambda a, b: b.symlink_to(a), "s"), "what was compiled"),
    "save onto it by a hard link": (_linked(lambda a, b: b.hardlink_to(a), "h"), "what was comp"),
    "save to a pipe": (_pipe, "a device, a pipe"),
    "pickle": (lambda c, d: pickle.dumps(c), "load_compiled"),
    "deepcopy": (lambda c, d: copy.deepcopy(c), "load_compiled"),
    "verify with a number": (lambda c, d: c.verify(3), "iterable"),  # type: ignore[arg-type]
    "verify with a path": (lambda c, d: c.verify("data.npz"), "not the path"),
    "debug with a dict": (lambda c, d: c.debug({"image": SMALL}), "one dict"),
    "debug with nothing": (lambda c, d: c.debug([]), "nothing to debug on"),
    "compare with nothing": (lambda c, d: qc.compare(c, c, []), "no feeds"),
    "compare with a dict": (lambda c, d: qc.compare(c, c, {"image": SMALL}), "one dict"),
    "load None": (lambda c, d: qc.load_compiled(None), "path"),  # type: ignore[arg-type]
    "load bytes": (lambda c, d: qc.load_compiled(b"a"), "path"),  # type: ignore[arg-type]
    "load for another target": (
        lambda c, d: qc.load_compiled(d / "out.onnx", "fbgemm"), "not saved by a torch"
    ),
    "load a pickle": (
        lambda c, d: qc.load_compiled(d / "other.pkl", "fbgemm"), "not saved by a torch"
    ),
    "a zip as model": (lambda c, d: qc.load(d / "t.zip"), "torch.save"),
    "what is compiled as model": (lambda c, d: qc.compile(c), "compiled already"),
    "a graph as model": (lambda c, d: qc.compile(onnx.GraphProto()), "make_model"),
    "an open file as model": (
        lambda c, d: qc.compile(io.BytesIO(b"")), "load_model_from_string"
    ),
    "a function as model": (lambda c, d: qc.compile(lambda x: x), "Module itself"),
    "feeds as model": (lambda c, d: qc.compile([SMALL]), "the model comes first"),
    "feeds as target": (
        lambda c, d: qc.compile(d / "m.onnx", [SMALL]), "calibration=feeds"  # type: ignore[arg-type]
    ),
    "a scheme as target": (lambda c, d: qc.compile(d / "m.onnx", "int8"), "scheme='int8'"),
    "a scheme as data": (
        lambda c, d: qc.compile(d / "m.onnx", "onnxruntime", "int8"), "by name"
    ),
    "a plan of a dict": (
        lambda c, d: qc.Plan.from_json({"target": "x"}), "to_json"  # type: ignore[arg-type]
    ),
    "a plan of None": (lambda c, d: qc.Plan.read(None), "path"),  # type: ignore[arg-type]
    "a configuration of None": (lambda c, d: qc.read_config(None), "path"),  # type: ignore[arg-type]
    "why of a number": (lambda c, d: qc.why(d / "m.onnx", 3), "name"),  # type: ignore[arg-type]
    "a pipeline of a number": (
        lambda c, d: qc.Pipeline.parse(3), "canonicalize"  # type: ignore[arg-type]
    ),
    "lint for no target": (lambda c, d: qc.lint(d / "m.onnx", ""), "target"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_later_mistake_is_told(name: str, given: Given) -> None:
    call, words = WRONG[name]
    before = (given[1] / "m.onnx").read_bytes()
    with pytest.raises(QCompilerError) as caught:
        call(*given)
    told = str(caught.value)
    assert re.search(re.escape(words), told), told
    assert "\n" in told, "neither a place, nor a reason, nor a fix"
    assert len(told) < 2000
    assert (given[1] / "m.onnx").read_bytes() == before


def test_a_shallow_copy_is_the_same(given: Given) -> None:
    """What cannot be pickled can be held twice."""
    feed = {"image": SMALL[None]}
    np.testing.assert_array_equal(copy.copy(given[0]).run(feed)[0], given[0].run(feed)[0])


@pytest.mark.parametrize(
    "call",
    [
        lambda compiled: qc.compare(compiled, compiled, _raising()),
        lambda compiled: compiled.verify(_raising()),
        lambda compiled: compiled.debug(_raising()),
    ],
    ids=["compare", "verify", "debug"],
)
def test_an_iterator_that_raises_says_at_which_feed(
    call: Callable[[qc.Compiled], Any], given: Given
) -> None:
    with pytest.raises(LookupError, match="no such image") as caught:
        call(given[0])
    assert "at feed 0" in caught.value.__notes__[0]
    assert caught.traceback[-1].name == "_raising"


def test_a_name_that_is_neither_target_nor_scheme_is_no_scheme(given: Given) -> None:
    with pytest.raises(RegistryError, match="known are"):
        qc.compile(given[1] / "m.onnx", "int80")
