"""Artifacts whose bytes, stamp or content were changed after they were saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import qcompiler as qc
from benchmarks.odd.edits import Edit, reverse_nodes
from benchmarks.odd.entry import Entry, base, feeds, table
from qcompiler.errors import ArtifactError, QCompilerError


def entries() -> list[Entry]:
    """Of the ONNX form and of torch's; each with the artifact as it was saved."""
    return [
        *table("artifact", _CHANGES, _changed),
        *table("artifact bytes", _BYTES, _damaged),
        *table("torch artifact", _STORED, _stored),
    ]


def _saved(folder: Path, target: str = "onnxruntime") -> Path:
    onnx.save(base(), folder / "m.onnx")
    made = qc.compile(
        folder / "m.onnx", target, calibration=feeds(), scheme="int8", recipe="fast", budget=0
    )
    return made.save(folder / "artifact")


def _changed(change: Edit) -> Callable[[Path], Any]:
    def run(folder: Path) -> None:
        path = _saved(folder)
        want = qc.load_compiled(path).run(feeds()[0])
        model = onnx.load(path)
        change(model)
        onnx.save(model, path)
        for have, wanted in zip(qc.load_compiled(path).run(feeds()[0]), want, strict=True):
            np.testing.assert_array_equal(have, wanted)

    return run


def _damaged(damage: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    def run(folder: Path) -> None:
        path = _saved(folder)
        path.write_bytes(damage(path.read_bytes()))
        qc.load_compiled(path)

    return run


def _stored(changes: dict[str, Any]) -> Callable[[Path], Any]:
    def run(folder: Path) -> None:
        import torch

        path = _saved(folder, "fbgemm")
        content = {**torch.load(path, weights_only=True), **changes}
        kept = {name: value for name, value in content.items() if value is not Ellipsis}
        torch.save(kept, path)
        qc.load_compiled(path)

    return run


def _props(**entries: Any) -> Edit:
    """Sets entries of the stamp; None takes one away."""

    def change(model: onnx.ModelProto) -> None:
        held = {each.key: each.value for each in model.metadata_props}
        for name, value in entries.items():
            held[f"qcompiler.{name}"] = value
        kept = {key: value for key, value in held.items() if value is not None}
        onnx.helper.set_model_props(model, kept)

    return change


def _weight(model: onnx.ModelProto) -> None:
    held = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    held.raw_data = bytes(len(held.raw_data))


def _scale(model: onnx.ModelProto) -> None:
    held = next(each for each in model.graph.initializer if each.data_type == 1)
    held.raw_data = (np.frombuffer(held.raw_data, np.float32) * 2).tobytes()


def _documented(model: onnx.ModelProto) -> None:
    model.doc_string = "mine"
    onnx.helper.set_model_props(model, {e.key: e.value for e in model.metadata_props} | {"a": "b"})


def _op(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Neg"


def _made(model: onnx.ModelProto) -> None:
    for each in model.metadata_props:
        if each.key == "qcompiler.made":
            each.value = json.dumps({**json.loads(each.value), "content": "0" * 32})


_CHANGES: dict[str, tuple[Any, ...]] = {
    "as it was (control)": (lambda model: None, None),
    "documented": (_documented, None),
    "nodes in another order": (reverse_nodes, None),
    "a weight of zeros": (_weight, ArtifactError, "artifact", "digest"),
    "a scale that is doubled": (_scale, ArtifactError, "artifact", "digest"),
    "another op": (_op, ArtifactError, "artifact", "digest"),
    "another digest": (_made, ArtifactError, "artifact", "digest"),
    "a node less": (lambda model: model.graph.node.pop(), ArtifactError, "artifact"),
    "no stamp": (_props(target=None, plan=None, plan_digest=None, made=None), None),
    "a target that is no JSON": (_props(target="{"), ArtifactError, "stamp"),
    "a target of a list": (_props(target="[]"), ArtifactError, "stamp"),
    "an unknown target": (
        _props(target='{"name": "nonesuch", "options": {}}'),
        QCompilerError,
        "nonesuch",
    ),
    "a plan that is no JSON": (_props(plan="{"), ArtifactError, "stamp"),
    "a plan of another digest": (_props(plan_digest="0"), ArtifactError, "stamp"),
    "making that is no JSON": (_props(made="{"), ArtifactError, "stamp"),
    "making of numbers": (_props(made="3"), ArtifactError, "stamp"),
    "a convention that is no JSON": (_props(convention="{"), ArtifactError),
}
_BYTES: dict[str, tuple[Any, ...]] = {
    "empty": (lambda content: b"", ArtifactError, "artifact"),
    "a text": (lambda content: b"hello", ArtifactError, "artifact"),
    **{
        f"cut off after {at}/6": (
            lambda content, at=at: content[: len(content) * at // 6], ArtifactError, "artifact",
        )
        for at in range(1, 6)
    },
    "a byte more": (lambda content: content + b"\xff", ArtifactError, "artifact"),
}  # fmt: skip
_STORED: dict[str, tuple[Any, ...]] = {
    "as it was (control)": ({}, None),
    "no engine": ({"engine": ...}, ArtifactError, "artifact"),
    "a number as engine": ({"engine": 5}, ArtifactError, "artifact"),
    "another format": ({"format": "other"}, ArtifactError, "artifact"),
    "a later version": ({"version": 99}, ArtifactError, "99"),
    "no graph": ({"graph": ...}, ArtifactError, "artifact"),
    "a text as graph": ({"graph": "x"}, ArtifactError, "artifact"),
    "a plan of a list": ({"plan": "[]"}, ArtifactError, "artifact"),
    "no plan": ({"plan": None}, ArtifactError, "artifact"),
    "a convention that is no JSON": ({"convention": "{"}, ArtifactError, "convention"),
    "making of a list": ({"made": "[]"}, ArtifactError, "artifact"),
}
