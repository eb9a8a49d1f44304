"""Texts that users write: pipelines, plans, configurations, names, options; and cost caches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

import qcompiler as qc
from benchmarks.odd.entry import Entry, base, feeds, table
from qcompiler.errors import ConfigurationError, PipelineError, QCompilerError, RegistryError
from qcompiler.report.report import Report
from qcompiler.search.cache import CostCache


def entries() -> list[Entry]:
    """Each kind with its control."""
    caches = {name: (content, None) for name, content in _CACHES.items()}
    return [
        *table("pipeline", _PIPELINES, lambda text: lambda folder: qc.Pipeline.parse(text)),
        *table("plan", _PLANS, _planned),
        *table("configuration", _CONFIGS, _configured),
        *table("option", _OPTIONS, _compiled),
        *table("cost cache", caches, _cached),
        *table("report", _REPORTS, lambda text: lambda folder: str(Report.from_json(text))),
    ]


def _compiled(options: dict[str, Any]) -> Callable[[Path], Any]:
    def run(folder: Path) -> None:
        onnx.save(base(), folder / "m.onnx")
        given = {"scheme": "int8", "recipe": "fast", "budget": 0, "calibration": feeds(), **options}
        str(qc.compile(folder / "m.onnx", **given).report)

    return run


def _planned(content: bytes | dict[str, Any]) -> Callable[[Path], Any]:
    def run(folder: Path) -> None:
        path = folder / "plan.json"
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        path.write_bytes(raw)
        _compiled({"plan": path, "scheme": "auto"})(folder)

    return run


def _configured(text: str) -> Callable[[Path], Any]:
    def run(folder: Path) -> None:
        path = folder / "c.toml"
        path.write_text(text, encoding="utf-8")
        _compiled(qc.read_config(path))(folder)

    return run


def _cached(content: bytes) -> Callable[[Path], Any]:
    """A cache that cannot be read is none; it never ends a compilation."""

    def run(folder: Path) -> None:
        (folder / "costs.json").write_bytes(content)
        assert CostCache(folder / "costs.json").get("nobody", "int8") is None

    return run


_DEEP = 5000
_PIPELINES: dict[str, tuple[Any, ...]] = {
    "as it should be (control)": ("canonicalize,fuse-conv-bn", None),
    "with options (control)": ('insert-observers{method="mse"}', None),
    "empty": ("", None),
    "only commas": (",,", PipelineError),
    "an unknown pass": ("canonicalise", QCompilerError, "canonicalize"),
    "a comma too many": ("canonicalize,", PipelineError),
    "an open bracket": ("fixed-point(canonicalize", PipelineError),
    "a closed bracket": ("canonicalize)", PipelineError),
    "an open brace": ("insert-observers{method=mse", PipelineError),
    "an unknown option": ("canonicalize{nonesuch=1}", QCompilerError, "nonesuch"),
    "an option without a value": ("insert-observers{method=}", QCompilerError, "method"),
    "an option twice": ("insert-observers{method=mse,method=mse}", QCompilerError, "method"),
    "an unknown value": ("insert-observers{method=nonesuch}", QCompilerError, "nonesuch"),
    "a value of another type": ("insert-observers{bins=many}", QCompilerError, "bins"),
    "a bad escape": ('insert-observers{method="\\q"}', PipelineError),
    "an open text": ('insert-observers{method="mse}', PipelineError),
    "nested deep": ("fixed-point(" * _DEEP + "canonicalize" + ")" * _DEEP, PipelineError),
    "a deep list": ("insert-observers{method=" + "[" * _DEEP + "}", PipelineError),
    "a limit of nothing": ("fixed-point{limit=0}(canonicalize)", QCompilerError, "limit"),
    "a limit beyond reason": ("fixed-point{limit=1e999}(canonicalize)", QCompilerError, "limit"),
    "a null character": ("canonicalize\0", PipelineError),
    "another alphabet": ("канон", QCompilerError),
    "an order that cannot work": ("calibrate,insert-observers", None),
}


def _plan(target: Any = "onnxruntime", **choice: Any) -> dict[str, Any]:
    return {"target": target, "choices": {"product": {"precision": "int8", **choice}}}


_PLANS: dict[str, tuple[Any, ...]] = {
    "as it should be (control)": (_plan(), None),
    "empty": (b"", ConfigurationError, "plan.json"),
    "no text": (b"\xff\xfe\0", ConfigurationError, "plan.json"),
    "nested deep": (b"[" * 100_000, ConfigurationError, "plan.json"),
    "cut off": (b'{"target": "onnxruntime", "choi', ConfigurationError, "plan.json"),
    "a list": (b"[]", ConfigurationError, "plan.json"),
    "nothing": (b"{}", ConfigurationError, "plan.json"),
    "a number": (b"3", ConfigurationError, "plan.json"),
    "NaN": (b"NaN", ConfigurationError, "plan.json"),
    "a number of 9000 digits": (b"9" * 9000, ConfigurationError, "plan.json"),
    "another target": (_plan("fbgemm"), ConfigurationError, "fbgemm"),
    "an unknown target": (_plan("nonesuch"), ConfigurationError, "nonesuch"),
    "a target that is no text": (_plan(5), ConfigurationError, "plan.json"),
    "an unknown precision": (_plan(precision="int5"), ConfigurationError, "int5"),
    "letters of another case": (_plan(precision="INT8"), ConfigurationError, "INT8"),
    "a precision of none": (_plan(precision=None), ConfigurationError, "plan.json"),
    "a list of precisions": (_plan(precision=["int8"]), ConfigurationError, "plan.json"),
    "alternatives of numbers": (_plan(alternatives=[1]), ConfigurationError, "plan.json"),
    "choices that are a list": (
        {"target": "onnxruntime", "choices": []}, ConfigurationError, "plan.json",
    ),
    "a region that is not there": (
        {"target": "onnxruntime", "choices": {"nowhere": {"precision": "int8"}}},
        ConfigurationError,
        "nowhere",
    ),
    "unknown variants": ({**_plan(), "variants": ["nonesuch"]}, QCompilerError, "nonesuch"),
    "variants of numbers": ({**_plan(), "variants": [1]}, ConfigurationError, "plan.json"),
}  # fmt: skip
_CONFIGS: dict[str, tuple[Any, ...]] = {
    "as it should be (control)": ('scheme = "int8"\nrecipe = "fast"', None),
    "empty": ("", None),
    "no TOML": ("scheme int8", ConfigurationError, "c.toml"),
    "an unknown key": ("nonesuch = 1", ConfigurationError, "nonesuch"),
    "a key that is nearly right": ('schema = "int8"', ConfigurationError, "scheme"),
    "an unknown scheme": ('scheme = "int9"', ConfigurationError, "int9"),
    "a number as scheme": ("scheme = 8", ConfigurationError, "scheme"),
    "a text as budget": ('budget = "much"', ConfigurationError, "budget"),
    "a negative budget": ("budget = -1", ConfigurationError, "budget"),
    "NaN as a loss": ("max_loss = nan", ConfigurationError, "max_loss"),
    "a number of 9000 digits": ("budget = " + "9" * 9000, ConfigurationError, "c.toml"),
    "nested deep": ("variants = " + "[" * _DEEP, ConfigurationError, "c.toml"),
    "a key twice": ('scheme = "int8"\nscheme = "int8"', ConfigurationError, "c.toml"),
    "overrides of numbers": ("[overrides]\nproduct = 8", ConfigurationError, "product"),
    "an override of nothing": ('[overrides]\nnowhere = "float32"', ConfigurationError, "nowhere"),
    "a range the wrong way": ("[ranges]\nh = [1, -1]", ConfigurationError, "h"),
    "a range of nothing": ("[ranges]\nnowhere = [-1, 1]", ConfigurationError, "nowhere"),
    "a range of texts": ('[ranges]\nh = ["a", "b"]', ConfigurationError, "h"),
}
_OPTIONS: dict[str, tuple[Any, ...]] = {
    "none odd (control)": ({}, None),
    "an unknown target": ({"target": "nonesuch"}, RegistryError, "nonesuch"),
    "a target written short": ({"target": "ort"}, RegistryError, "onnxruntime"),
    "a target of nothing": ({"target": ""}, QCompilerError),
    "a number as target": ({"target": 3}, QCompilerError, "target"),
    **{
        f"threads={count}": (
            {"target": f"onnxruntime{{threads={count}}}"}, ConfigurationError, "threads",
        )
        for count in ("-3", "0", "100000", "2147483648", "1e9", "many", "true")
    },
    "an unknown option of a target": (
        {"target": "onnxruntime{nonesuch=1}"}, ConfigurationError, "nonesuch",
    ),
    "an unknown scheme": ({"scheme": "int9"}, ConfigurationError, "int9"),
    "a scheme of none": ({"scheme": None}, QCompilerError, "scheme"),
    "an unknown recipe": ({"recipe": "slow"}, ConfigurationError, "slow"),
    "a text as budget": ({"budget": "1"}, QCompilerError, "budget"),
    "a negative budget": ({"budget": -1}, ConfigurationError, "budget"),
    "NaN as budget": ({"budget": float("nan")}, ConfigurationError, "budget"),
    "an unknown objective": ({"objective": "beauty"}, ConfigurationError, "beauty"),
    "an unknown variant": ({"variants": ["nonesuch"]}, QCompilerError, "nonesuch"),
    "a text as variants": ({"variants": "correct-bias"}, None),
    "an override of nothing": (
        {"overrides": {"nowhere": "float32"}}, ConfigurationError, "nowhere",
    ),
    "an override of bits": ({"overrides": {"product": {"bits": 99}}}, ConfigurationError, "bits"),
    "a list as overrides": ({"overrides": ["product"]}, QCompilerError, "overrides"),
    "a loss of an unknown output": ({"loss": {"nowhere": "top1"}}, ConfigurationError, "nowhere"),
    "evaluate that is no function": ({"evaluate": 3}, QCompilerError, "evaluate"),
    "a plan that is not there": ({"plan": "nowhere.json"}, ConfigurationError, "nowhere.json"),
}  # fmt: skip
_CACHES = {
    "empty": b"",
    "no text": b"\xff\xfe\0",
    "nested deep": b"[" * 100_000,
    "a list": b"[]",
    "a number": b"3",
    "other entries": b'{"a": {"b": []}}',
    "cut off": b'{"a": {"int8": 0.0',
    "NaN": b'{"nobody": {"int8": NaN}}',
    "texts for seconds": b'{"nobody": {"int8": "fast"}}',
    "negative seconds": b'{"nobody": {"int8": -1}}',
    "nothing in it (control)": b"{}",
}
_REPORTS: dict[str, tuple[Any, ...]] = {
    name: (text, QCompilerError)
    for name, text in {
        "empty": "", "nothing": "{}", "a list": "[]", "nested deep": "[" * 100_000, "a number": "3",
        "regions of numbers": '{"source": "a", "target": "b", "summary": "c", "regions": [1]}',
    }.items()
}  # fmt: skip
