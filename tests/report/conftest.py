"""Reports that the tests look at, and the browser that shows them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.report.network import Network, Vertex
from qcompiler.report.report import Report
from qcompiler.report.rows import (
    Figure,
    FrontierRow,
    PassRow,
    RegionRow,
    SampleCounts,
    VariantRow,
)
from qcompiler.report.values import Distribution, ValueRow
from tests.report.chromium import Browser, installed


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium; tests that ask for it are skipped where there is none."""
    program = installed()
    if program is None:
        pytest.skip("no Chromium is installed (Debian's package is `chromium`)")
    found = Browser(program, tmp_path_factory.mktemp("chromium"))
    yield found
    found.close()


@pytest.fixture
def report() -> Report:
    return Report(
        source="file <model>.onnx",
        target="onnxruntime",
        summary="int8 is 1.9 times faster",
        regions=(
            RegionRow(
                "conv1",
                "Conv+Relu",
                "int8",
                "stem.$0",
                "m.py:3",
                "wins",
                1e-3,
                2e-3,
                0.001,
                noise=1e-4,
                float_nbytes=4096,
                nbytes=1040,
                shape="float[N,8]",
                forms={"float32": 2e-3, "int8": 1e-3, "int8-dynamic": None},
                losses={"int8": 0.001},
                reads=("x",),
                weight="w",
            ),
            RegionRow("head", "Gemm", "float32", None, None, "too [small]", 2e-6, None, None),
        ),
        passes=(PassRow(1, "canonicalize", 0.012, 4),),
        figures=(
            Figure("latency", "s", 0.004, 0.002, interval=(1.9, 2.1), rounds=21),
            Figure("size", "bytes", 4096.0, 1024.0),
            Figure("accuracy", "", 0.98, 0.975, "higher"),
        ),
        diagnostics=(Diagnostic(Severity.WARNING, "R01", "a <b>finding</b>", node="conv1"),),
        warnings=("batch was fixed",),
        seconds=1.5,
        variants=(VariantRow("a-pass", 0.1, 0.01, True, "cheap", "a-pass: kept, 10 dB → 20 dB"),),
        frontier=(FrontierRow(0, 0.004, 0.0, 4096, 0, True), FrontierRow(1, None, 0.01, 1024, 1)),
        values=(
            ValueRow("w", "weight", "INT8", "8×4", (0.25, 0.5), 8, (0, 0), -64.0, 63.5),
            ValueRow(
                "x",
                "activation",
                "UINT8",
                "",
                (0.1, 0.1),
                1,
                (3, 3),
                -0.3,
                25.2,
                (-1.0, 26.0),
                0.0125,
                1e-4,
                "",
                Distribution(-1.0, 26.0, (1, 0, 7)),
            ),
        ),
        network=Network(
            (
                Vertex("x", "input", shape="float[N,4]"),
                Vertex("conv1", "Conv+Relu", 0, "float[N,8]", "stem.$0", "m.py:3"),
                Vertex("swish", "HardSwish", note="t has no integer kernel for HardSwish"),
                Vertex("head", "Gemm", 1),
                Vertex("y", "output"),
            ),
            ((0, 1), (1, 2), (2, 3), (3, 4)),
        ),
        samples=SampleCounts(16, 8, 8),
        environment={"engine": "onnxruntime 9.9", "processor": "a <fast> one"},
    )


def _many(count: int) -> Report:
    """A network of residual blocks, every second layer quantized, all of it with histograms."""
    rng = random.Random(0)
    rows, values, vertices, edges = [], [], [Vertex("input", "input")], []
    bars = Distribution(-1.0, 2.0, tuple(rng.randrange(1, 10**6) for _ in range(64)))
    for i in range(count):
        name = f"/backbone/stages.{i // 16}/blocks.{i % 16}/attention/projection/MatMul_{i}"
        kept = ("INT8", "64×64", (1e-3, 2e-3), 64, (0, 0), -1.0, 1.5, (-1.2, 1.8), 0.001, 1e-4)
        values.append(ValueRow(f"{name}.weight", "weight", *kept, "nearest", bars))
        values.append(ValueRow(f"{name}_output_0", "activation", *kept, "", bars))
        rows.append(
            RegionRow(
                name, "MatMul+Add+Relu", "int8" if i % 2 else "float32",
                f"stages.{i // 16}.{i % 16}", "model/vision/encoder.py:123",
                f"{i}.5 µs against {i}.7 µs in float", 1e-5, 2e-5,
                1e-6 * i, 1e-4, 16384, 4352, "float[N,197,64]", {"float32": 2e-5, "int8": 1e-5},
                {"int8": 1e-6 * i}, (f"{name}_output_0",), f"{name}.weight", f"{name}_output_0",
            )
        )  # fmt: skip
        vertices.append(Vertex(name, rows[-1].ops, i, rows[-1].shape, rows[-1].module))
        edges += [(j, i + 1) for j in {i, max(0, i - 5) if i % 3 == 0 else i}]
    passes = tuple(PassRow(i, "canonicalize", 0.01, 3) for i in range(1, 30))
    return Report(
        "file big.onnx", "onnxruntime", "half of it", tuple(rows), passes, seconds=9.0,
        values=tuple(values), network=Network(tuple(vertices), tuple(edges)),
    )  # fmt: skip


@pytest.fixture(scope="session")
def many() -> Callable[[int], Report]:
    """A report of as many layers as asked for."""
    return _many


@pytest.fixture(scope="session")
def big() -> Report:
    """A report of 2 000 layers."""
    return _many(2000)


_HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "${alert(1)}`",
    "\x1b[31m\x00\r\n\u2028\u202eevil",
    "层/卷积é\U0001f600",
    "]]>&lt;&amp;",
    "\ud800",
]


def _named(text: str) -> Report:
    """A report that has a text in every place a model's author can reach."""
    value = ValueRow(text, "activation", "UINT8", text, (1.0, 1.0), 1, (0, 0), 0.0, 1.0)
    row = RegionRow(text, text, text, text, text, text, forms={text: 1.0}, reads=(text,))
    return Report(
        source=text,
        target="t",
        summary=text,
        regions=(row,),
        passes=(PassRow(1, text, 1.0, 1),),
        figures=(Figure(text, text, 1.0, 2.0),),
        diagnostics=(Diagnostic(Severity.WARNING, "R", text, text, text, text, text),),
        warnings=(text,),
        variants=(VariantRow(text, 0.1, 0.2, True, text, text),),
        values=(value,),
        network=Network((Vertex(text, text, 0, text, text, text), Vertex(text, text, note=text))),
        environment={text: text},
    )


@pytest.fixture(params=_HOSTILE, ids=range(len(_HOSTILE)))
def hostile(request: pytest.FixtureRequest) -> Report:
    """A report whose every name tries something."""
    return _named(request.param)


@pytest.fixture
def harmless() -> Report:
    """The same with a name that does not."""
    return _named("plain")
