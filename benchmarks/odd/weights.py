"""Tensors that are damaged or lie elsewhere, in every place of a model that holds one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.odd.entry import Entry, compiled, model
from qcompiler.errors import UnreadableModelError

N = helper.make_node
_VALUES = np.eye(4, dtype=np.float32)


def entries() -> list[Entry]:
    """Every damage in every place, and every place undamaged."""
    good = [
        Entry(f"weight: {place}: {kind}", _run(build, store))
        for place, build in _PLACES.items()
        for kind, store in {
            "as it should be (control)": lambda *_: None,
            "in a file": _beside,
        }.items()
    ]
    return good + [
        Entry(f"weight: {place}: {name}", _run(build, damage), UnreadableModelError, ("m.onnx",))
        for place, build in _PLACES.items()
        for name, damage in _DAMAGE.items()
    ]


Damage = Callable[[TensorProto, Path], Any]


def _run(build: Callable[[TensorProto], onnx.ModelProto], damage: Damage) -> Callable[[Path], Any]:
    def run(folder: Path) -> None:
        home = folder / "home"
        home.mkdir()
        tensor = numpy_helper.from_array(_VALUES, "w")
        damage(tensor, home)
        found = compiled(build(tensor), home)
        x = np.arange(4, dtype=np.float32)[None]
        np.testing.assert_array_equal(found.run(x)[0], x)

    return run


def _initializer(tensor: TensorProto) -> onnx.ModelProto:
    return model([N("MatMul", ["x", "w"], ["y"])], {"w": tensor})


def _constant(tensor: TensorProto) -> onnx.ModelProto:
    return model([N("Constant", [], ["w"], value=tensor), N("MatMul", ["x", "w"], ["y"])])


def _branch(tensor: TensorProto) -> onnx.ModelProto:
    end = helper.make_tensor_value_info("r", 1, None)
    body = helper.make_graph([N("MatMul", ["x", "w"], ["r"])], "b", [], [end], [tensor])
    yes = numpy_helper.from_array(np.asarray(True), "yes")
    return model([N("If", ["yes"], ["y"], then_branch=body, else_branch=body)], {"yes": yes})


def _function(tensor: TensorProto) -> onnx.ModelProto:
    nodes = [N("Constant", [], ["w"], value=tensor), N("MatMul", ["a", "w"], ["b"])]
    called = helper.make_function("own", "F", ["a"], ["b"], nodes, [helper.make_opsetid("", 18)])
    return model([N("F", ["x"], ["y"], domain="own")], functions=(called,))


_PLACES = {
    "initializer": _initializer, "constant": _constant, "branch": _branch, "function": _function,
}  # fmt: skip


def _external(tensor: TensorProto, **entries: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)


def _beside(tensor: TensorProto, home: Path) -> None:
    (home / "w.data").write_bytes(tensor.raw_data)
    _external(tensor, location="w.data", offset="0", length=str(len(tensor.raw_data)))


def _file(**entries: str) -> Damage:
    """Outside of the file that is there, or of the folder."""

    def damage(tensor: TensorProto, home: Path) -> None:
        for place in (home, home.parent):
            (place / "w.data").write_bytes(bytes(64))
        (home / "link").symlink_to(home.parent / "w.data")
        (home / "folder").mkdir()
        os.mkfifo(home / "pipe")
        given = {key: value.replace("@", str(home.parent)) for key, value in entries.items()}
        _external(tensor, **given)

    return damage


def _set(**fields: Any) -> Damage:
    def damage(tensor: TensorProto, home: Path) -> None:
        for name, value in fields.items():
            if isinstance(value, list):
                getattr(tensor, name)[:] = value
            else:
                setattr(tensor, name, value)

    return damage


def _without(field: str) -> Damage:
    return lambda tensor, home: tensor.ClearField(field)


def _other_field(tensor: TensorProto, home: Path) -> None:
    tensor.ClearField("raw_data")
    tensor.int64_data.extend([1] * 16)


_DAMAGE: dict[str, Damage] = {
    "no data": _without("raw_data"),
    "cut off": _set(raw_data=b"123"),
    "too long": _set(raw_data=bytes(65)),
    "negative dimension": _set(dims=[-4, 4]),
    "two negative dimensions": _set(dims=[-4, -4]),
    "dimension beyond reason": _set(dims=[2**62, 4]),
    "product beyond int64": _set(dims=[2**40, 2**40]),
    "more elements than data": _set(dims=[4, 5]),
    "no type": _set(data_type=0),
    "unknown type": _set(data_type=99),
    "type of another size": _set(data_type=TensorProto.DOUBLE),
    "strings in bytes": _set(data_type=TensorProto.STRING),
    "data of another field": _other_field,
    "file: none there": _file(location="none.data"),
    "file: no location": _file(offset="0"),
    "file: empty location": _file(location=""),
    "file: absolute": _file(location="@/w.data"),
    "file: above": _file(location="../w.data"),
    "file: by a link": _file(location="link"),
    "file: a folder": _file(location="folder"),
    "file: a pipe": _file(location="pipe"),
    "file: null character": _file(location="w\0.data"),
    "file: name beyond reason": _file(location="w" * 5000),
    "file: offset behind its end": _file(location="w.data", offset="100"),
    "file: negative offset": _file(location="w.data", offset="-1"),
    "file: offset no number": _file(location="w.data", offset="x"),
    "file: length beyond its end": _file(location="w.data", length="100"),
    "file: length too short": _file(location="w.data", length="60"),
}  # fmt: skip
