"""A sample of the ONNX backend suite; `benchmarks.backend_suite` runs all of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.backend_cases import Case, cases
from benchmarks.backend_suite import Result, differs, judge, judge_all, table

SAMPLE = 24


@pytest.fixture(scope="module")
def sample() -> list[Case]:
    return cases(SAMPLE)


def faults(results: list[Result]) -> list[Result]:
    return [each for each in results if each.is_fault]


@pytest.mark.parametrize("scheme", ["float32", "int8"])
def test_a_sample_has_no_fault(sample: list[Case], scheme: str) -> None:
    results = [judge(case, "onnxruntime", scheme) for case in sample]
    assert faults(results) == []
    assert sum(each.outcome in ("right", "nothing") for each in results) > SAMPLE // 2


def test_a_sample_with_constants_has_no_fault(sample: list[Case]) -> None:
    assert faults([judge(case.with_constants(), "onnxruntime", "float32") for case in sample]) == []


def test_another_value_is_wrong(sample: list[Case]) -> None:
    case = next(c for c in sample if judge(c, "onnxruntime", "float32").outcome == "right")
    wrong = replace(case, outputs=tuple(np.logical_not(o) for o in case.outputs))
    assert differs(wrong, case.outputs, exact=True)
    assert not differs(case, case.outputs, exact=True)
    assert judge(wrong, "onnxruntime", "float32").outcome == "wrong"


def test_a_death_and_an_endless_model_are_results(
    sample: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import time

    from benchmarks import backend_suite

    def fatal(case: Case, target: str, scheme: str) -> Result:
        if case is sample[0]:
            os._exit(7)
        if case is sample[1]:
            time.sleep(60)
        return Result(case.name, "right")

    monkeypatch.setattr(backend_suite, "judge", fatal)
    results = list(judge_all(sample[:3], "onnxruntime", "float32", seconds=1.0))
    assert [each.outcome for each in results] == ["died", "died", "right"]
    assert "exit code 7" in results[0].reason
    assert "no end" in results[1].reason
    assert "| 3 (0) |" in table({"row": results})


def test_sequences_are_calibration_data() -> None:
    named = {case.name: case for case in cases()}
    for name in ("test_identity_sequence", "test_sequence_insert_at_front"):
        assert judge(named[name], "onnxruntime", "int8").outcome in ("right", "nothing")
