"""Feeds: names, dtypes, shapes, and the sizes that a capture assumed."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from qcompiler.compile import compile as compile_model
from qcompiler.errors import FeedError
from qcompiler.execution.feeds import normalize_feed
from qcompiler.ir.signature import Signature, TensorSpec
from qcompiler.ir.sizes import SizeRule

FLOAT = ir.DataType.FLOAT


def _captured(*rules: SizeRule) -> Signature:
    inputs = (TensorSpec("x", FLOAT, ("n", 2)), TensorSpec("y", FLOAT, ("2*n",)))
    return Signature(inputs, (), rules=rules)


def _feed(x: int, y: int) -> dict[str, np.ndarray]:
    return {"x": np.zeros((x, 2), np.float32), "y": np.zeros(y, np.float32)}


def test_sizes_that_fit_pass() -> None:
    assert set(normalize_feed(_captured(SizeRule("n <= 4")), _feed(4, 8))) == {"x", "y"}


def test_a_size_outside_the_capture_names_input_and_line() -> None:
    with pytest.raises(FeedError, match="n <= 4") as caught:
        normalize_feed(_captured(SizeRule("n <= 4", "net.py:7")), _feed(5, 10))
    assert "n = 5 (input 'x')" in str(caught.value)
    assert "net.py:7" in str(caught.value)


def test_another_byte_order_is_the_same_numbers() -> None:
    feed = {"x": np.arange(8, dtype=">f4").reshape(4, 2), "y": np.arange(8, dtype=">f8")}
    found = normalize_feed(_captured(), feed)
    for name, array in feed.items():
        assert found[name].dtype == np.dtype("=f4")
        np.testing.assert_array_equal(found[name], array)


def test_sizes_of_one_symbol_agree() -> None:
    with pytest.raises(FeedError, match="axis 0 of input 'y' has size 9, it has to be 8"):
        normalize_feed(_captured(), _feed(4, 9))


def test_symbols_of_a_file_are_but_names() -> None:
    inputs = _captured().inputs
    normalize_feed(Signature(inputs, ()), _feed(4, 9))


class _Unreadable:
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise KeyError("no column")


@pytest.mark.parametrize(
    "leaf",
    [
        np.asarray([[None]]),
        [[1.0], [2.0, 3.0]],
        _Unreadable(),
        np.ma.masked_array(np.zeros(8, np.float32), np.arange(8) == 3),
    ],
    ids=["objects", "ragged", "raising", "masked"],
)
def test_what_is_no_array_is_refused_with_the_name_of_its_input(leaf: Any) -> None:
    with pytest.raises(FeedError, match="where an array is needed") as caught:
        normalize_feed(_captured(), {**_feed(4, 8), "y": leaf})
    assert "input y: " in str(caught.value)


def test_a_mask_of_nothing_is_none() -> None:
    feed = {**_feed(4, 8), "y": np.ma.masked_array(np.ones(8, np.float32), np.zeros(8, bool))}
    assert normalize_feed(_captured(), feed)["y"].sum() == 8


def test_a_text_is_not_to_be_converted() -> None:
    with pytest.raises(FeedError, match="dtype str") as caught:
        normalize_feed(_captured(), {**_feed(4, 8), "y": "image.png"})
    assert "load what it names" in str(caught.value)


def test_sequences_and_optionals_are_fed_as_lists_and_none() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]>'
        "g (seq(float[N]) s) => (int64 n) { n = SequenceLength (s) }"
    )
    parts = [np.zeros(2, np.float32), np.zeros(3, np.float32)]
    compiled = compile_model(model, scheme="float32")
    assert compiled.run({"s": parts})[0] == 2
    assert compiled.run((parts,))[0] == 2
    with pytest.raises(FeedError, match="is a sequence"):
        compiled.run({"s": parts[0]})
    with pytest.raises(FeedError, match="dtype"):
        compiled.run({"s": [np.zeros(2, np.int64)]})
    maybe = Signature((TensorSpec("o", ir.DataType.FLOAT, None, "optional"),), ())
    assert normalize_feed(maybe, {"o": None}) == {"o": None}
