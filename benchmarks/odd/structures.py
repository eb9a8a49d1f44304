"""ONNX graphs that are damaged, hostile, or only look so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.odd.edits import Edit, more, put, reverse_nodes
from benchmarks.odd.entry import Entry, base, compiled, table
from qcompiler.errors import (
    ModelError,
    QCompilerError,
    UnreadableModelError,
    UnsupportedOpsetError,
)

N = helper.make_node


def entries() -> list[Entry]:
    """Edits of one small network, and nodes in the middle of it."""
    return [*table("graph", _EDITS, _edited), *table("attribute", _ATTRIBUTES, _noded)]


def _edited(edit: Edit) -> Callable[[Path], Any]:
    """What is taken computes what the network did."""

    def run(folder: Path) -> None:
        changed, (weight,) = base(), map(numpy_helper.to_array, base().graph.initializer)
        edit(changed)
        found = compiled(changed, folder)
        known = {"x": np.ones((2, 4), np.float32), "v": np.ones(4, np.float32), "w": weight}
        feed = {spec.name: known[spec.name] for spec in found.program.signature.inputs}
        try:
            outputs = found.run(feed)
        except QCompilerError as error:
            raise AssertionError(f"taken, and does not run: {error}") from error
        for output in outputs:
            np.testing.assert_allclose(output, np.maximum(known["x"] @ weight, 0), rtol=1e-5)

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


def _weight(name: str, shape: tuple[int, ...] = (4, 4), kind: int = 1) -> TensorProto:
    return helper.make_tensor(name, kind, shape, np.ones(shape).ravel())


_BAD, _OPSET, _IR = ModelError, UnsupportedOpsetError, QCompilerError
_ELEMENT = "graph.input[0].type.tensor_type.elem_type"
_DIM = "graph.input[0].type.tensor_type.shape.dim[1].dim_value"
_EDITS: dict[str, tuple[Any, ...]] = {
    "nothing odd (control)": (lambda changed: None,),
    "nodes in reverse order": (reverse_nodes,),
    "a circle": (put("graph.node[0].input[0]", "y"), UnreadableModelError, "circle"),
    "a node that reads its own result": (
        put("graph.node[0].input[0]", "h"),
        UnreadableModelError,
        "circle",
    ),
    "an operand of nothing": (put("graph.node[0].input[0]", "nowhere"), _BAD, "nowhere"),
    "an output of nothing": (put("graph.output[0].name", "nowhere"), _BAD, "nowhere"),
    "an output without a name": (put("graph.output[0].name", ""), _BAD, "nothing produces it"),
    "an output twice": (more("graph.output", helper.make_tensor_value_info("y", 1, None)),),
    "a value produced twice": (more("graph.node", N("Neg", ["x"], ["h"])), _BAD, "'h'"),
    "an input produced by a node": (more("graph.node", N("Neg", ["y"], ["x"])), _BAD, "'x'"),
    "a weight produced by a node": (more("graph.node", N("Neg", ["x"], ["w"])), _BAD, "'w'"),
    "two weights of one name": (
        more("graph.initializer", _weight("w")),
        UnreadableModelError,
        "'w'",
    ),
    "two inputs of one name": (
        more("graph.input", helper.make_tensor_value_info("x", 1, [4])),
        _BAD,
        "'x'",
    ),
    "a weight that is an input as well": (
        more("graph.input", helper.make_tensor_value_info("w", 1, [4, 4])),
    ),
    "a weight that nobody reads": (more("graph.initializer", _weight("v")),),
    "a weight without a name": (more("graph.initializer", _weight("")),),
    "an input that nobody reads": (
        more("graph.input", helper.make_tensor_value_info("v", 1, [4])),
    ),
    "no outputs": (put("graph.output", None), _BAD, "no outputs"),
    "no graph": (put("graph", None), UnreadableModelError, "m.onnx"),
    "no nodes": (put("graph.node", None), _BAD, "y"),
    "no opset": (put("opset_import", None),),
    "an opset twice": (more("opset_import", helper.make_opsetid("", 11)), _BAD, "two versions"),
    "no IR version": (put("ir_version", None),),
    "an IR version beyond reason": (put("ir_version", 2**40),),
    "an input without a type": (put("graph.input[0].type", None), _IR, "x"),
    "an unknown element type": (put(_ELEMENT, 99), UnreadableModelError, "x"),
    "an element type of strings": (put(_ELEMENT, 8), _IR, "product"),
    "an element type of integers": (put(_ELEMENT, 7), _IR, "product"),
    "a negative dimension": (put(_DIM, -1),),
    "a dimension beyond reason": (put(_DIM, 2**62), _IR, "product"),
    "a dimension that does not fit": (put(_DIM, 3), _IR, "product"),
    "an unknown op": (put("graph.node[1].op_type", "Nonesuch"), _IR, "Nonesuch"),
    "an op without a name": (put("graph.node[1].op_type", ""), _IR, "last"),
    "an unknown domain": (put("graph.node[1].domain", "nonesuch"), _IR, "nonesuch"),
    "too many operands": (more("graph.node[1].input", "x", "w"), _IR, "last"),
    "too few operands": (put("graph.node[0].input", ["x"]), _IR, "product"),
    "no operands": (put("graph.node[1].input", []), _IR, "last"),
    "too many results": (more("graph.node[1].output", "z"), _IR, "last"),
    "an omitted operand that is needed": (put("graph.node[0].input[1]", ""), _IR, "product"),
    "a function that calls itself": (
        more(
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
    "documentation of a megabyte": (put("doc_string", "d" * 1_000_000),),
}
_EDITS |= {
    f"opset {number}": (put("opset_import[0].version", number), _OPSET, str(number))
    for number in (-1, 0, 1, 5, 99, 2**62)
}
_EDITS |= {
    f"opset {number}": (put("opset_import[0].version", number),) for number in range(7, 26, 3)
}
_EDITS |= {f"IR version {number}": (put("ir_version", number),) for number in (3, 7, 10)}


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
