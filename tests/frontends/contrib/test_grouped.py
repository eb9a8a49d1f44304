"""GroupQueryAttention spelt in standard operators, against ONNX Runtime's own kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qcompiler.frontends import load
from qcompiler.ir.verifier import require_valid
from qcompiler.ir.walk import all_nodes
from tests.oracle import compile_int8, unoptimized

Array = npt.NDArray[Any]
Feed = dict[str, Array]
HEADS, GROUPS, SIZE = 4, 2, 16
RNG = np.random.default_rng(41)
PROMPT: dict[str, Any] = {"batch": 2, "new": 6, "lengths": [6, 4]}
CHUNK: dict[str, Any] = {"new": 3, "room": 6, "lengths": [9]}
STEP: dict[str, Any] = {"batch": 2, "room": 9, "lengths": [7, 5]}
WAYS = {"prompt": PROMPT, "chunk": CHUNK, "step": STEP}
"""A first call of two lengths; more tokens behind six; a step in a cache with room left."""


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def tables(width: int) -> Feed:
    angles = np.arange(16)[:, None] / 10 ** (np.arange(width // 2) / 3)
    return {"cos": np.cos(angles).astype(np.float32), "sin": np.sin(angles).astype(np.float32)}


def fed(
    *, batch: int = 1, new: int = 1, room: int | None = None, lengths: Sequence[int] = (1,),
    size: int = SIZE, packed: bool = False, turned: int = 0, **more: Array,
) -> Feed:  # fmt: skip
    """Operands by name, in the operator's order; of those left out there is none."""
    wide = (HEADS + 2 * GROUPS) * size
    feed = {"query": floats(batch, new, wide if packed else HEADS * size)}
    if not packed:
        feed |= {name: floats(batch, new, GROUPS * size) for name in ("key", "value")}
    if room is not None:
        feed |= {name: floats(batch, GROUPS, room, size) for name in ("past_key", "past_value")}
    feed["lengths"] = np.array(lengths, np.int32) - 1
    feed["total"] = np.array(max(lengths), np.int32)
    return feed | (tables(turned) if turned else {}) | more


ORDER = (
    "query", "key", "value", "past_key", "past_value", "lengths", "total", "cos", "sin", "ids",
    "bias", "sink",
)  # fmt: skip
CONSTANT = ("cos", "sin")


def model_of(feed: Feed, **attributes: Any) -> onnx.ModelProto:
    """One node; sizes of batch and lengths are open."""
    names = [name if name in feed else "" for name in ORDER]
    while not names[-1]:
        names.pop()
    made = ["y", "K", "V"]
    node = helper.make_node(
        "GroupQueryAttention", names, made, domain="com.microsoft", num_heads=HEADS,
        kv_num_heads=GROUPS, do_rotary=int("cos" in feed), **attributes,
    )  # fmt: skip

    def dims(name: str) -> list[int | str]:
        shape: list[int | str] = list(feed[name].shape)
        if name in ("query", "key", "value"):
            shape[:2] = ["b", "s"]
        if name.startswith("past"):
            shape[0], shape[2] = "b", "p"
        return shape

    kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in feed.items()}
    inputs = [
        helper.make_tensor_value_info(name, kinds[name], dims(name))
        for name in feed
        if name not in CONSTANT
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made]
    stored = [numpy_helper.from_array(feed[name], name) for name in CONSTANT if name in feed]
    graph = helper.make_graph([node], "g", inputs, outputs, stored)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def assert_spelt(feed: Feed, **attributes: Any) -> None:
    """What counts is equal: rows that fill a sequence up hold whatever the kernel leaves there.

    1e-5 leaves room for the roundings of sums of 16 products and of a softmax in float32.
    """
    model = model_of(feed, **attributes)
    program = load(model)
    require_valid(program)
    assert not any(node.domain for node in all_nodes(program.model))
    given = {name: array for name, array in feed.items() if name not in CONSTANT}
    wanted, found = unoptimized(model, given), unoptimized(program, given)
    new, first = feed["query"].shape[1], feed["query"].shape[1] == int(feed["total"])
    for index, last in enumerate(feed["lengths"]):
        count = int(last) + 1
        rows = count if first else new
        np.testing.assert_allclose(found[0][index, :rows], wanted[0][index, :rows], atol=1e-5)
        for one, two in zip(found[1:], wanted[1:], strict=True):
            assert one.shape == two.shape
            np.testing.assert_allclose(one[index, :, :count], two[index, :, :count], atol=1e-5)


ATTRIBUTES: list[dict[str, Any]] = [
    {}, {"softcap": 1.5}, {"scale": 0.7}, {"local_window_size": 3}, {"local_window_size": 1},
    {"smooth_softmax": 1}, {"causal": 0},
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("attributes", ATTRIBUTES, ids=str)
def test_attributes(way: str, attributes: dict[str, Any]) -> None:
    assert_spelt(fed(**WAYS[way]), **attributes)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [16, 32], ids=["all turned", "half turned"])
@pytest.mark.parametrize("pairs", [0, 1])
def test_positions_turned_inside(way: str, size: int, pairs: int) -> None:
    assert_spelt(fed(**WAYS[way], size=size, turned=16), rotary_interleaved=pairs)


@pytest.mark.parametrize("way", WAYS)
def test_packed_operands_with_all_at_once(way: str) -> None:
    feed = fed(**WAYS[way], packed=True, turned=16, sink=floats(HEADS))
    assert_spelt(feed, softcap=2.0, local_window_size=4)


@pytest.mark.parametrize(
    ("way", "ids"),
    [
        (CHUNK, [[3, 9, 1]]),
        (STEP, [[3], [5]]),
        (PROMPT | {"new": 3, "lengths": [3, 3]}, [[2] * 3] * 2),
    ],
    ids=["chunk", "step", "prompt"],
)
def test_positions_that_are_given(way: dict[str, Any], ids: list[list[int]]) -> None:
    """A first call counts from the first of them."""
    assert_spelt(fed(**way, turned=16, ids=np.array(ids, np.int64)))


def test_a_bias_and_no_cache() -> None:
    for heads in (1, HEADS):
        assert_spelt(fed(**CHUNK, bias=floats(1, heads, 3, 9)))
    assert_spelt(fed(new=5, lengths=[5]))


def test_what_has_no_spelling_stays() -> None:
    model = model_of(fed(**STEP), local_window_size=4, sliding_window_cache=1)
    assert [node.op_type for node in load(model).graph] == ["GroupQueryAttention"]


def test_the_mask_takes_no_range_from_the_scores() -> None:
    """It is made of sizes of what a product gives, and holds the lowest float."""
    feeds = [fed(new=4, lengths=[4]) for _ in range(4)]
    model = model_of(feeds[0])
    node = model.graph.node[0]
    product = helper.make_node("MatMul", ["query", "w"], ["q"])
    weight = numpy_helper.from_array(floats(HEADS * SIZE, HEADS * SIZE) / 8, "w")
    model.graph.initializer.append(weight)
    node.input[0] = "q"
    model.graph.node.insert(0, product)
    compiled = compile_int8(model, feeds)
    found, wanted = compiled.run(feeds[0])[0], unoptimized(model, feeds[0])[0]
    assert np.linalg.norm(found - wanted) < 0.06 * np.linalg.norm(wanted)
