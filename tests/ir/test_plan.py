"""Plan files: read back as written, refused with the place when damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qcompiler.errors import ConfigurationError
from qcompiler.ir.plan import Choice, Plan


def test_it_comes_back(tmp_path: Path) -> None:
    plan = Plan(
        "t", {"ä": Choice("int8", "why", 1e-3, None, {"float32": 2e-3}), "b": Choice("float32")}
    )
    (tmp_path / "p").write_text(plan.to_json(), encoding="utf-8")
    assert Plan.read(tmp_path / "p") == plan


def _with(**fields: object) -> str:
    return json.dumps({"target": "t", "choices": {"mm": {"precision": "int8", **fields}}})


DAMAGED = {
    "empty": ("", "line 1"),
    "a list": ("[]", "the plan is a list"),
    "a number": ("3", "the plan is a number"),
    "deep": ("[" * 100_000, "nested too deep"),
    "no target": ('{"choices": {}}', "no entry 'target'"),
    "no choices": ('{"target": "t"}', "no entry 'choices'"),
    "target": ('{"target": 3, "choices": {}}', "'target' is a number"),
    "choices": ('{"target": "t", "choices": []}', "'choices' is a list"),
    "a choice": ('{"target": "t", "choices": {"mm": null}}', "choice of 'mm' is null"),
    "no precision": ('{"target": "t", "choices": {"mm": {}}}', "'mm' has no precision"),
    "a field": (_with(colour=1), "'mm' has an unknown field 'colour'"),
    "precision list": (_with(precision=["int8"]), "'precision' of the choice of 'mm' is a list"),
    "precision null": (_with(precision=None), "is null, not a text"),
    "precision true": (_with(precision=True), "is true or false"),
    "reason": (_with(reason=1), "'reason' of the choice of 'mm' is a number"),
    "seconds": (_with(seconds="fast"), "'seconds' of the choice of 'mm' is a text"),
    "seconds nan": (_with(seconds=float("nan")), "is nan"),
    "loss": (_with(loss={}), "'loss' of the choice of 'mm' is an object"),
    "alternatives": (_with(alternatives=[1]), "'alternatives' of the choice of 'mm' is a list"),
    "a time": (_with(alternatives={"float32": None}), "time of 'float32'"),
    "twice": ('{"target": "t", "choices": {}, "target": "u"}', "'target' is given twice"),
    "long number": ('{"target": ' + "9" * 10_000 + "}", "digits"),
}


@pytest.mark.parametrize("form", DAMAGED)
def test_a_damaged_plan_says_where(form: str, tmp_path: Path) -> None:
    text, words = DAMAGED[form]
    with pytest.raises(ConfigurationError, match="this is not a plan") as caught:
        Plan.from_json(text)
    assert words in str(caught.value)
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"cannot read the plan .*p\.json") as caught:
        Plan.read(tmp_path / "p.json")
    assert words in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(b"\xff\xfe\0")
    with pytest.raises(ConfigurationError, match="byte 0 is not part of a UTF-8 text"):
        Plan.read(tmp_path / "p.json")
    with pytest.raises(ConfigurationError, match="it is a folder"):
        Plan.read(tmp_path)
