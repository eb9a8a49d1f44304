"""A headless Chromium, driven over its own pipe protocol: no package is needed besides it."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import random
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--mute-audio",
    "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--window-size=1400,1000",
    "--remote-debugging-pipe",
)  # fmt: skip


class Browser:
    """One page of a Chromium (https://chromedevtools.github.io/devtools-protocol/).

    Attributes:
        problems: Exceptions and error messages of the page's script, policy violations included.
        requests: Addresses that the page asked for.
    """

    def __init__(self, program: str, folder: Path) -> None:
        down, self._write = os.pipe()
        self._read, up = os.pipe()
        # It reads commands from 3 and writes to 4; neither may lie where the other comes from.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (down, up)]
        null = os.open(os.devnull, os.O_RDWR)
        places = zip((null, null, null, *ends), range(5), strict=True)
        self._process = os.posix_spawn(
            program,
            [program, *_FLAGS, f"--user-data-dir={folder}", "about:blank"],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, end, place) for end, place in places],
        )
        for end in (down, up, null, *ends):
            os.close(end)
        self._number, self._buffer, self._session = 0, b"", ""
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._events: list[str] = []
        pages = self.call("Target.getTargets")["targetInfos"]
        page = next(each for each in pages if each["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command; its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            found = self._message(30.0)
            if found.get("id") == self._number:
                assert "error" not in found, found["error"]
                result: dict[str, Any] = found["result"]
                return result

    def _message(self, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            part = os.read(self._read, 1 << 20)
            assert part, "the browser ended"
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        self._keep(found)
        return found

    def _keep(self, found: dict[str, Any]) -> None:
        method, parameters = found.get("method", ""), found.get("params", {})
        self._events.append(method)
        if method == "Runtime.exceptionThrown":
            self.problems.append(str(parameters["exceptionDetails"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.problems.append(str(parameters["entry"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])

    def open(self, path: Path) -> float:
        """Opens a file; seconds until it is loaded."""
        self.problems.clear()
        self.requests.clear()
        self._events.clear()
        started = time.monotonic()
        self.call("Page.navigate", url=path.as_uri())
        while "Page.loadEventFired" not in self._events:
            self._message(30.0)
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return time.monotonic() - started

    def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        found = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def click(self, x: float, y: float) -> None:
        """Presses and releases the mouse at a place of the window."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Moves the pressed mouse."""
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=start[0], y=start[1],
                  button="left", clickCount=1)  # fmt: skip
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=end[0], y=end[1], button="left")
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1],
                  button="left", clickCount=1)  # fmt: skip

    def click_on(self, selector: str) -> None:
        """Clicks on the middle of an element, scrolled into view."""
        box = self.box(selector)
        self.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    def box(self, selector: str) -> dict[str, float]:
        """Place and size of an element in the window."""
        found: dict[str, float] = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); "
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect(); "
            "return {x: b.x, y: b.y, width: b.width, height: b.height}; })()"
        )
        return found

    def type(self, text: str) -> None:
        """Types into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Presses and releases a key."""
        code = {"Enter": 13, "ArrowDown": 40, "ArrowUp": 38}.get(key, 0)
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)

    def scheme(self, name: str) -> None:
        """Makes the reader prefer `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def shot(self, whole: bool = False) -> bytes:
        """A picture of the window, or of the whole page, as PNG."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(found["data"])

    def close(self) -> None:
        """Ends the browser."""
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._read)
        os.close(self._write)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium; tests that ask for it are skipped where there is none."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
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
