"""The debug report blames what is broken; engines and hand-made faults are the oracle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import qcompiler as qc
from qcompiler.artifacts import load_compiled
from qcompiler.cli import app
from qcompiler.errors import ConfigurationError
from qcompiler.execution.saving import write_onnx
from qcompiler.ir.text import from_text
from qcompiler.measurement.loss import sqnr_db
from tests.counting import Counting

TEXT = """g (float[N,8] x) => (float[N,4] y) <float[8,8] u, float[8,8] v, float[8,4] w> {
    [one] a = MatMul(x, u)
    [two] b = MatMul(a, v)
    [three] y = MatMul(b, w) }"""
BOUND = 25.0


def stored() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"u": (8, 8), "v": (8, 8), "w": (8, 4)}
    return {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}


def program() -> qc.Program:
    return from_text(TEXT, stored())


def feeds() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [{"x": rng.normal(size=(4, 8)).astype(np.float32)} for _ in range(8)]


@pytest.fixture(scope="module")
def sound() -> qc.Compiled:
    return qc.compile(program(), "onnxruntime", feeds(), scheme="int8", variants=())


@pytest.fixture(scope="module")
def broken() -> qc.Compiled:
    """The value between the second and the third product has a range twenty times too wide."""
    ranges = {"b": (-900.0, 900.0)}
    return qc.compile(program(), "onnxruntime", feeds(), scheme="int8", variants=(), ranges=ranges)


def test_regions_are_measured_alone_and_up_to_each(sound: qc.Compiled) -> None:
    report = sound.debug()
    assert [each.region for each in report.regions] == ["one", "two", "three"]
    assert all(20 < sqnr_db(each.alone) < 60 for each in report.regions)
    cumulated = [each.cumulated for each in report.regions]
    assert report.regions[0].alone == cumulated[0]
    assert report.simulated == cumulated[-1]
    assert report.simulated == pytest.approx(report.measured, rel=0.3)
    # By ONNX Runtime itself: the first region in integers, the others in float.
    plan = {"op:MatMul": "float32", "one": "int8"}
    alone = qc.compile(
        program(), "onnxruntime", feeds(), scheme="int8", variants=(), overrides=plan
    )
    assert alone.debug().measured == pytest.approx(report.regions[0].alone, rel=0.3)


def test_the_region_with_the_bad_range_is_found(sound: qc.Compiled, broken: qc.Compiled) -> None:
    assert sound.debug().first_over(BOUND) is None
    first = broken.debug().first_over(BOUND)
    assert first is not None
    assert first.region == "two"
    found = broken.bisect(BOUND)
    assert found.region == "two"
    assert sqnr_db(found.before) > BOUND > sqnr_db(found.after)
    assert found.culprit is not None
    kept = sound.bisect(BOUND)
    assert kept.region is None
    assert "are kept" in kept.text()


def test_both_judge_parts_of_an_output_by_themselves() -> None:
    """A small part of an output is noise beside a large one if the whole is judged."""
    text = """g (float[N,8] x) => (float[N,8] y) <float[8,4] u, float[8,4] v> {
        [one] a = MatMul(x, u)
        [two] b = MatMul(x, v)
        [join] y = Concat<axis: int = 1>(a, b) }"""
    rng = np.random.default_rng(0)
    weights = {"u": 300 * rng.normal(size=(8, 4)), "v": rng.normal(size=(8, 4))}
    source = from_text(text, {name: each.astype(np.float32) for name, each in weights.items()})
    rule = {"join": "int8-shared"}
    compiled = qc.compile(
        source, "onnxruntime", feeds(), scheme="int8", variants=(), overrides=rule
    )
    measured = compiled.debug().measured
    assert sqnr_db(measured) < 10  # the small part has three steps of the shared scale
    found = compiled.bisect(BOUND)
    assert found.loss == pytest.approx(measured, rel=1e-3)
    assert found.region is not None
    assert found.culprit is not None


def test_values_show_ranges_over_what_was_seen(broken: qc.Compiled) -> None:
    (value,) = [each for each in broken.debug().values if each.value == "b"]
    assert (value.by, value.type, value.channels) == ("the user", "uint8", 8)
    assert value.high - value.low == pytest.approx(1800, rel=1e-3)
    weights = stored()
    seen = np.concatenate([feed["x"] @ weights["u"] @ weights["v"] for feed in feeds()])
    assert value.seen_high == pytest.approx(float(seen.max()), rel=1e-5)
    assert sum(value.counts) == seen.size
    sizes = np.abs(seen).max(axis=0)
    assert value.spread == pytest.approx(float(sizes.max() / np.median(sizes)), rel=0.3)


def test_variants_tell_what_they_changed() -> None:
    variants = ("use-ranges{method=minmax}", "correct-bias")
    compiled = qc.compile(program(), "onnxruntime", feeds(), scheme="int8", variants=variants)
    report = compiled.debug()
    assert [each.variant for each in report.variants] == list(variants)
    assert [each.kept for each in report.variants if each.kept] == [
        True for each in compiled.plan.variants or ()
    ]


def test_text_json_and_rows_hold_the_same(broken: qc.Compiled) -> None:
    report = broken.debug()
    text = report.text()
    assert all(each in text for each in ("one", "two", "three", "the user", "up to here"))
    data = json.loads(report.to_json())
    assert [row["region"] for row in data["regions"]] == ["one", "two", "three"]
    assert data["values"] == json.loads(json.dumps(report.rows("values")))
    with pytest.raises(ConfigurationError, match="no rows of 'value'"):
        report.rows("value")


@pytest.mark.parametrize("target", ["fbgemm", "openvino"])
def test_other_engines(target: str) -> None:
    pytest.importorskip("openvino" if target == "openvino" else "torch")
    compiled = qc.compile(program(), target, feeds(), scheme="int8", variants=())
    report = compiled.debug()
    assert len(report.regions) == 3
    assert sqnr_db(report.measured) > 25
    assert compiled.bisect(100.0).region == "one"


def test_float_results_and_files(tmp_path: Path) -> None:
    plain = qc.compile(program(), "onnxruntime", feeds(), scheme="float32")
    assert "no region is quantized" in plain.debug().text()
    file = plain.save(tmp_path / "a.onnx")
    with pytest.raises(ConfigurationError, match="from a file"):
        load_compiled(file).debug()


def test_the_command(tmp_path: Path) -> None:
    folder = tmp_path
    model, data, artifact = folder / "m.onnx", folder / "d.npz", folder / "q.onnx"
    write_onnx(program().model, model)
    np.savez(data, x=np.concatenate([feed["x"] for feed in feeds()]))
    compiled = qc.compile(model, "onnxruntime", feeds(), scheme="int8", variants=())
    compiled.save(artifact)
    common = ["debug", str(model), "-c", str(data), "--batch", "4", "--variants", "none"]
    shown = CliRunner().invoke(app, [*common, "--range", "b=-900:900", "--json"])
    assert shown.exit_code == 0, shown.output
    rows = json.loads(shown.stdout)["values"]
    assert next(row for row in rows if row["value"] == "b")["by"] == "the user"
    given = ["debug", str(model), str(artifact), "-c", str(data), "--batch", "4", "--bisect", "99"]
    found = CliRunner().invoke(app, given)
    assert found.exit_code == 0, found.output
    assert "are passed with MatMul 'one'" in found.stdout
    assert CliRunner().invoke(app, ["debug", str(model)]).exit_code != 0


def test_progress_is_told_to_the_end(sound: qc.Compiled) -> None:
    told = Counting()
    sound.debug(progress=told)
    assert told.steps["regions"] == [6, 6]  # three regions alone, and up to each
    sound.bisect(80.0, progress=told)
    done, total = told.steps["halving the regions"]
    assert 0 < (done or 0) <= (total or 0) == 2


def test_tables_fit_a_hundred_columns(sound: qc.Compiled) -> None:
    report = sound.debug()
    long = "encoder/layers.11/attention/output/dense/" * 3
    values = tuple(replace(each, value=f"{long}{each.value}") for each in report.values)
    lines = replace(report, values=values).text(every=True).splitlines()
    assert max(map(len, lines)) <= 100
    assert sum("█" in line for line in lines) == len(values)
    assert any(line.startswith("…") and "/dense/b " in line for line in lines)


def test_a_notebook_shows_the_worst_regions_first(broken: qc.Compiled) -> None:
    report = broken.debug()
    shown = report._repr_html_()
    worst = max(report.regions, key=lambda each: each.alone)
    places = {each.region: shown.index(f">{each.region}<") for each in report.regions}
    assert min(places, key=lambda name: places[name]) == worst.region
    assert len(shown) < 2000
