"""ONNX files whose graph is damaged, hostile, or only looks so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.odd.entry import Entry, base, compiled, model, table
from qcompiler.errors import (
    ModelError,
    QCompilerError,
    UnreadableModelError,
    UnsupportedOpsetError,
)

N = helper.make_node
Edit = Callable[[onnx.ModelProto], Any]
_LEFT = 8
"""Places at which a file is cut off, and at which bytes are put in."""


def entries() -> list[Entry]:
    """Edits of one small network, bytes that are no model, texts that no name may be."""
    return [
        *table("graph", _EDITS, _edited),
        *table("attribute", _ATTRIBUTES, _noded),
        *table(
            "text",
            {name: (edit, UnreadableModelError, "UTF-8") for name, edit in _TEXTS.items()},
            _undecodable,
        ),
        *table("bytes", _bytes(), lambda content: lambda folder: compiled(content, folder)),
        *table("name", {repr(name)[:24]: (name,) for name in _NAMES}, _named),
    ]


def _edited(edit: Edit) -> Callable[[Path], Any]:
    def run(folder: Path) -> None:
        changed = base()
        edit(changed)
        compiled(changed, folder)

    return run


def _noded(node: onnx.NodeProto | tuple[onnx.NodeProto, ...]) -> Callable[[Path], Any]:
    """A node between the product and its Relu."""

    def run(folder: Path) -> None:
        nodes = node if isinstance(node, tuple) else (node,)
        changed = base()
        changed.graph.node[1].input[0] = nodes[-1].output[0]
        last = changed.graph.node.pop()
        changed.graph.node.extend([*nodes, last])
        compiled(changed, folder).run(np.ones((2, 4), np.float32))

    return run


def _undecodable(edit: Edit) -> Callable[[Path], Any]:
    def run(folder: Path) -> None:
        changed = base()
        edit(changed)
        compiled(changed.SerializeToString().replace(b"QQQQ", b"\xff\xfe\xc0\xaf"), folder)

    return run


def _named(name: str) -> Callable[[Path], Any]:
    """All names of a right model begin with it."""

    def run(folder: Path) -> None:
        x, w, h, y = (name + each for each in "xwhy")
        nodes = [N("MatMul", [x, w], [h], name=name + "n"), N("Relu", [h], [y], name=name + "m")]
        ends = ({x: (1, ["n", 4])}, {y: (1, ["n", 4])})
        weights = {w: np.eye(4, dtype=np.float32)}
        found = compiled(model(nodes, weights, inputs=ends[0], outputs=ends[1]), folder)
        np.testing.assert_array_equal(found.run(np.ones((1, 4), np.float32))[0], np.ones((1, 4)))
        str(found.report)

    return run


_NAMES = (
    "",
    " ",
    "a/b/",
    "../../",
    "a:0/",
    "é重😀",
    "\x1b[31m",
    "\0",
    "\u202e",
    "a\nb",
    "'",
    '"',
    "<b>",
    "n" * 5000,
    "%s",
    "{x}",
    "qcompiler.",
    "0",
    "-",
    "CON",
)


def _at(changed: onnx.ModelProto, path: str) -> Any:
    """What lies at `graph.node[0].input`; the model itself at the empty path."""
    held: Any = changed
    for step in path.split(".") if path else ():
        name, _, at = step.partition("[")
        held = getattr(held, name)
        held = held[int(at[:-1])] if at else held
    return held


def _set(path: str, value: Any) -> Edit:
    """Sets a field: `graph.node[0].op_type`."""

    def edit(changed: onnx.ModelProto) -> None:
        above, _, last = path.rpartition(".")
        held = _at(changed, above)
        name, _, at = last.partition("[")
        if at:
            getattr(held, name)[int(at[:-1])] = value
        elif isinstance(value, list):
            getattr(held, name)[:] = value
        elif value is None:
            held.ClearField(name)
        else:
            setattr(held, name, value)

    return edit


def _more(path: str, *items: Any) -> Edit:
    def edit(changed: onnx.ModelProto) -> None:
        _at(changed, path).extend(items)

    return edit


def _reversed(changed: onnx.ModelProto) -> None:
    nodes = list(changed.graph.node)[::-1]
    del changed.graph.node[:]
    changed.graph.node.extend(nodes)


def _circle(changed: onnx.ModelProto) -> None:
    changed.graph.node[0].input[0] = "y"


def _own_result(changed: onnx.ModelProto) -> None:
    changed.graph.node[0].input[0] = "h"


def _no_type(changed: onnx.ModelProto) -> None:
    changed.graph.input[0].ClearField("type")


def _dim(value: int) -> Edit:
    def edit(changed: onnx.ModelProto) -> None:
        changed.graph.input[0].type.tensor_type.shape.dim[1].dim_value = value

    return edit


def _element(kind: int) -> Edit:
    def edit(changed: onnx.ModelProto) -> None:
        changed.graph.input[0].type.tensor_type.elem_type = kind

    return edit


def _weight(name: str, shape: tuple[int, ...] = (4, 4), kind: int = 1) -> TensorProto:
    return helper.make_tensor(name, kind, shape, np.ones(shape).ravel())


_BAD, _OPSET, _IR = ModelError, UnsupportedOpsetError, QCompilerError
_EDITS: dict[str, tuple[Any, ...]] = {
    "nothing odd (control)": (lambda changed: None,),
    "nodes in reverse order": (_reversed,),
    "a circle": (_circle, UnreadableModelError, "circle"),
    "a node that reads its own result": (_own_result, UnreadableModelError, "circle"),
    "an operand of nothing": (_set("graph.node[0].input[0]", "nowhere"), _BAD, "nowhere"),
    "an output of nothing": (_set("graph.output[0].name", "nowhere"), _BAD, "nowhere"),
    "an output without a name": (_set("graph.output[0].name", ""), _BAD, "nothing produces it"),
    "an output twice": (_more("graph.output", helper.make_tensor_value_info("y", 1, None)),),
    "a value produced twice": (_more("graph.node", N("Neg", ["x"], ["h"])), _BAD, "'h'"),
    "an input produced by a node": (_more("graph.node", N("Neg", ["y"], ["x"])), _BAD, "'x'"),
    "a weight produced by a node": (_more("graph.node", N("Neg", ["x"], ["w"])), _BAD, "'w'"),
    "two weights of one name": (
        _more("graph.initializer", _weight("w")),
        UnreadableModelError,
        "'w'",
    ),
    "two inputs of one name": (
        _more("graph.input", helper.make_tensor_value_info("x", 1, [4])),
        _BAD,
        "'x'",
    ),
    "a weight that is an input as well": (
        _more("graph.input", helper.make_tensor_value_info("w", 1, [4, 4])),
    ),
    "a weight that nobody reads": (_more("graph.initializer", _weight("v")),),
    "a weight without a name": (_more("graph.initializer", _weight("")),),
    "an input that nobody reads": (
        _more("graph.input", helper.make_tensor_value_info("v", 1, [4])),
    ),
    "no outputs": (lambda m: m.graph.ClearField("output"), _BAD, "no output"),
    "no graph": (lambda m: m.ClearField("graph"), UnreadableModelError, "m.onnx"),
    "no nodes": (lambda m: m.graph.ClearField("node"), _BAD, "y"),
    "no opset": (lambda m: m.ClearField("opset_import"),),
    "an opset twice": (_more("opset_import", helper.make_opsetid("", 11)), _BAD, "two versions"),
    "no IR version": (lambda m: m.ClearField("ir_version"),),
    "an IR version beyond reason": (_set("ir_version", 2**40),),
    "an input without a type": (_no_type, _IR, "x"),
    "an unknown element type": (_element(99), UnreadableModelError, "x"),
    "an element type of strings": (_element(8), _IR, "product"),
    "an element type of integers": (_element(7), _IR, "product"),
    "a negative dimension": (_dim(-1),),
    "a dimension beyond reason": (_dim(2**62), _IR, "product"),
    "a dimension that does not fit": (_dim(3), _IR, "product"),
    "an unknown op": (_set("graph.node[1].op_type", "Nonesuch"), _IR, "Nonesuch"),
    "an op without a name": (_set("graph.node[1].op_type", ""), _IR, "last"),
    "an unknown domain": (_set("graph.node[1].domain", "nonesuch"), _IR, "nonesuch"),
    "too many operands": (_more("graph.node[1].input", "x", "w"), _IR, "last"),
    "too few operands": (_set("graph.node[0].input", ["x"]), _IR, "product"),
    "no operands": (_set("graph.node[1].input", []), _IR, "last"),
    "too many results": (_more("graph.node[1].output", "z"), _IR, "last"),
    "an omitted operand that is needed": (_set("graph.node[0].input[1]", ""), _IR, "product"),
    "a function that calls itself": (
        _more(
            "functions",
            helper.make_function(
                "own",
                "F",
                ["a"],
                ["b"],
                [N("F", ["a"], ["b"], domain="own")],
                [helper.make_opsetid("own", 1)],
            ),
        ),
        UnreadableModelError,
        "circle",
    ),
    "documentation of a megabyte": (_set("doc_string", "d" * 1_000_000),),
}
_EDITS |= {
    f"opset {number}": (_set("opset_import[0].version", number), _OPSET, str(number))
    for number in (-1, 0, 1, 5, 99, 2**62)
}
_EDITS |= {
    f"opset {number}": (_set("opset_import[0].version", number),) for number in range(7, 26, 3)
}
_EDITS |= {f"IR version {number}": (_set("ir_version", number),) for number in (3, 7, 10)}


def _attribute(**fields: Any) -> onnx.NodeProto:
    """A Softmax whose axis is written otherwise."""
    node = N("Softmax", ["h"], ["z"], name="odd")
    node.attribute.append(onnx.AttributeProto(name="axis", **fields))
    return node


_INT, _FLOAT = onnx.AttributeProto.INT, onnx.AttributeProto.FLOAT
_ATTRIBUTES: dict[str, tuple[Any, ...]] = {
    "as it should be (control)": (_attribute(i=1, type=_INT),),
    "without a type": (_attribute(i=1), UnreadableModelError, "odd"),
    "of another type": (_attribute(f=1.0, type=_FLOAT), _IR, "odd"),
    "of a text": (_attribute(s=b"1", type=onnx.AttributeProto.STRING), _IR, "odd"),
    "that refers to a function's": (_attribute(ref_attr_name="a", type=_INT), _IR, "odd"),
    "axis beyond the rank": (N("Softmax", ["h"], ["z"], name="odd", axis=5), _IR, "odd"),
    "unknown": (N("Softmax", ["h"], ["z"], name="odd", nonesuch=1), _IR, "odd"),
    "that is needed is not there": (N("Cast", ["h"], ["z"], name="odd"), _IR, "odd"),
    "permutation with a hole": (N("Transpose", ["h"], ["z"], name="odd", perm=[0, 2]), _IR, "odd"),
    "permutation too short": (N("Transpose", ["h"], ["z"], name="odd", perm=[0]), _IR, "odd"),
    "axis of a Concat too large": (N("Concat", ["h", "h"], ["z"], name="odd", axis=7), _IR, "odd"),
    "Split into none": (N("Split", ["h"], ["z"], name="odd", axis=1, num_outputs=0), _IR, "odd"),
    "type to cast to": (N("Cast", ["h"], ["z"], name="odd", to=99), _IR, "odd"),
    "empty constant": (N("Constant", [], ["z"], name="odd"), _IR, "odd"),
    "two values of a constant": (
        N("Constant", [], ["z"], name="odd", value_int=1, value_float=1.0),
        _IR,
        "odd",
    ),
    "a branch is missing": (
        N("If", ["h"], ["z"], name="odd", then_branch=helper.make_graph([], "b", [], [])),
        _IR,
        "odd",
    ),
    "branches of unequal results": (
        N(
            "If",
            ["h"],
            ["z"],
            name="odd",
            then_branch=helper.make_graph([], "b", [], []),
            else_branch=helper.make_graph([], "b", [], []),
        ),
        _IR,
        "odd",
    ),
    "a text of another kind": (
        N("DepthToSpace", ["h"], ["z"], name="odd", blocksize=2, mode="odd"),
        _IR,
        "odd",
    ),
}
_TEXTS: dict[str, Edit] = {
    "name of a node": _set("graph.node[0].name", "QQQQ"),
    "op": _set("graph.node[0].op_type", "QQQQ"),
    "domain": _set("graph.node[0].domain", "QQQQ"),
    "operand": _set("graph.node[0].input[0]", "QQQQ"),
    "result": _set("graph.node[0].output[0]", "QQQQ"),
    "input": _set("graph.input[0].name", "QQQQ"),
    "output": _set("graph.output[0].name", "QQQQ"),
    "weight": _set("graph.initializer[0].name", "QQQQ"),
    "graph": _set("graph.name", "QQQQ"),
    "producer": _set("producer_name", "QQQQ"),
    "documentation": _set("doc_string", "QQQQ"),
    "metadata": lambda m: helper.set_model_props(m, {"k": "QQQQ"}),
    "opset": _set("opset_import[1].domain", "QQQQ"),
}


def _bytes() -> dict[str, tuple[Any, ...]]:
    good = base().SerializeToString()
    size = len(good)
    rows: dict[str, tuple[Any, ...]] = {
        f"cut off after {at}/{_LEFT}": (good[: size * at // _LEFT], ModelError, "m.onnx")
        for at in range(_LEFT)
    }
    rows |= {
        f"zeros at {at}/{_LEFT}": (
            good[: size * at // _LEFT] + bytes(9) + good[size * at // _LEFT :],
            ModelError,
            "m.onnx",
        )
        for at in range(_LEFT)
    }
    others = {
        "a text": b"hello",
        "a number": b"1",
        "a zip": b"PK\3\4" + bytes(40),
        "a pickle": b"\x80\4N.",
        "an OpenVINO file": b'<?xml version="1.0"?><net/>',
        "JSON": b'{"irVersion": 8}',
        "noise": np.random.default_rng(0).bytes(4000),
        "one field that never ends": b"\x08" + b"\xff" * 40,
        "a length beyond the file": b"\x08\x08\x3a\xff\xff\xff\xff\x07",
        "groups inside groups": b"\x0b" * 5000,
        "graphs inside graphs": b"\x3a\x7f" * 3000,
    }
    return rows | {name: (each, ModelError, "m.onnx") for name, each in others.items()}
