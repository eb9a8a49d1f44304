"""A sample of torch's functions and layers; `benchmarks.torch_forms` runs all of it."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402 - only where torch is

from benchmarks.torch_cases.case import Case  # noqa: E402
from benchmarks.torch_forms import forms, judge_all, table  # noqa: E402
from benchmarks.torch_judging import Result, compared, judge, judged  # noqa: E402

SAMPLE = (
    "NamedTuple",
    "optional given",
    "number",
    "in place view",
    "scripted",
    "topk smallest",
    "GRUCell",
    "AvgPool2d divisor",
)


@pytest.fixture(scope="module")
def every() -> list[Case]:
    return forms()


def test_names_are_unique(every: list[Case]) -> None:
    assert len({case.name for case in every}) == len(every) > 1000


def test_a_sample_has_no_fault(every: list[Case]) -> None:
    chosen = [case for case in every if case.name in SAMPLE]
    assert len(chosen) == len(SAMPLE)
    results = [judge(case, "onnxruntime", "float32") for case in chosen]
    assert [(each.outcome, each.reason) for each in results if each.outcome != "right"] == []


def test_several_are_tried_as_one(every: list[Case]) -> None:
    chosen = [case for case in every if case.name in ("cumsum dim=-2", "amax keepdim", "relu")]
    results = judged(chosen, "onnxruntime", "float32")
    assert [(each.outcome, each.reason) for each in results] == [("right", "with others")] * 3


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ({"a": torch.ones(2)}, "right"),
        ({"a": torch.full((2,), 1.1)}, "wrong"),
        ({"a": torch.ones(3)}, "wrong"),
        ({"a": torch.ones(2).int()}, "wrong"),
        ({"a": torch.tensor([1.0, torch.inf])}, "wrong"),
        ({"b": torch.ones(2)}, "wrong"),
        ([torch.ones(2)], "wrong"),
    ],
)
def test_another_result_is_wrong(found: Any, kind: str) -> None:
    assert compared(found, {"a": torch.ones(2)}, "float32")[0] == kind


def test_what_is_told_and_what_torch_refuses_are_classes_of_their_own() -> None:
    class Counting(nn.Linear):
        calls = 0

        def forward(self, x: Any) -> Any:
            self.calls = self.calls + 1
            return super().forward(x) * self.calls

    told = Case("counting", Counting(3, 3).eval(), lambda: (torch.ones(2, 3),))
    assert judge(told, "onnxruntime", "float32").outcome == "told"
    misfit = Case("misfit", nn.Linear(3, 3).eval(), lambda: (torch.ones(2, 4),))
    assert judge(misfit, "onnxruntime", "float32").outcome == "skipped"


def test_a_death_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from benchmarks import torch_forms

    def fatal(group: list[Case], target: str, scheme: str) -> list[Result]:
        if group[0].name == "second":
            os._exit(7)
        return [Result(case.name, "right") for case in group]

    monkeypatch.setattr(torch_forms, "judged", fatal)
    cases = [Case(name, nn.Identity(), tuple) for name in ("first", "second")]
    results = {each.name: each for each in judge_all(cases, "onnxruntime", "float32")}
    assert [results[name].outcome for name in ("first", "second")] == ["right", "died"]
    assert "| float32 | 2 | 1 | 0 |" in table({"float32": list(results.values())})
