"""Regions and values are named as they are called, by globs, or by regular expressions."""

from __future__ import annotations

import pytest

from qcompiler.errors import ConfigurationError
from qcompiler.ir.patterns import name_fits, region_fits


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("encoder.layers.3.fc", True),
        ("encoder.*", True),
        ("encoder", True),
        ("enc", False),
        ("*.fc", True),
        ("op:Ge*", True),
        ("op:MatMul", False),
        (r"re:encoder\.layers\.(0|3)\.fc", True),
        (r"re:encoder\.layers\.(0|2)\.fc", False),
        (r"re:layers", False),
        (r"re:.*layers.*", True),
        (r"op:re:Gemm|MatMul", True),
    ],
)
def test_a_region_is_named_by_what_it_is_called(pattern: str, fits: bool) -> None:
    assert region_fits(pattern, "node_7", "encoder.layers.3.fc", "Gemm") is fits


@pytest.mark.parametrize("name", ["layers[0]/conv", "a[!b]", "what?", "re:odd"])
def test_a_name_means_itself(name: str) -> None:
    """As a glob, `layers[0]` is `layers0`: exporters write such names, and users copy them."""
    assert name_fits(name, [name])
    assert region_fits(name, name, None, "Conv")
    assert not name_fits(name, ["other"])


def test_what_is_no_expression_is_told() -> None:
    with pytest.raises(ConfigurationError, match="no regular expression") as caught:
        region_fits("re:(", "a", None, "Conv")
    assert "'re:('" in str(caught.value)
