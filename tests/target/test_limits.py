"""Every numeric option of every target has bounds, in Python and as text."""

from __future__ import annotations

import dataclasses

import pytest

from qcompiler.errors import ConfigurationError
from qcompiler.pipeline import registry
from qcompiler.pipeline.targets import target_of

OPTIONS = [
    (name, each.name)
    for name in registry.targets()
    for each in dataclasses.fields(registry.find_target(name))
    if "int" in str(each.type)
]


def test_there_are_some() -> None:
    assert ("onnxruntime", "threads") in OPTIONS
    assert ("executorch", "batch") in OPTIONS
    assert len(OPTIONS) >= 8


@pytest.mark.parametrize(("name", "option"), OPTIONS)
@pytest.mark.parametrize("value", [-3, 0, 100_000_000, 2**31, 2**70, True, 1.5, "2"])
def test_what_makes_no_sense_is_refused(name: str, option: str, value: object) -> None:
    with pytest.raises(ConfigurationError):
        registry.find_target(name)(**{option: value})
    with pytest.raises(ConfigurationError):
        target_of(f"{name}{{{option}={value}}}" if value != "2" else f'{name}{{{option}="x"}}')


@pytest.mark.parametrize(("name", "option"), [each for each in OPTIONS if each[1] == "threads"])
def test_threads_that_exist_are_taken(name: str, option: str) -> None:
    for value in (1, 2, 64):
        assert getattr(target_of(f"{name}{{threads={value}}}", several=True), option) == value
    with pytest.raises(ConfigurationError, match="whole number from 1 to"):
        target_of(f"{name}{{threads=100000}}", several=True)
