"""The template plugin is installed as a user would, and is a peer of the built-in ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_USE = """
import json
import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator
import qcompiler as qc
from qcompiler.pipeline import registry

text = '''
<ir_version: 10, opset_import: ["" : 21]>
model (float[2,3] x) => (float[2,3] y) {
    a = Neg (x)
    b = Neg (a)
    c = Relu (b)
    y = Neg (c)
}
'''
model = ir.from_onnx_text(text)
program = qc.load(model)
pipeline = qc.Pipeline.parse("fixed-point(drop-double-neg{limit=1},dead-code)")
report = pipeline.run(program)
x = np.array([[-1, 2, -3], [4, -5, 6]], np.float32)
target = registry.find_target("onnx-reference")()
expected = ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": x})[0]
got = target.lower(program).run({"x": x})[0]
print(json.dumps({
    "ops": [node.op_type for node in program.graph],
    "modified": report.modified,
    "text": str(pipeline),
    "equal": bool(np.array_equal(expected, got)),
    "pass": qc.passes()["drop-double-neg"],
    "target": qc.targets()["onnx-reference"],
    "from": registry.PASSES.entries()["drop-double-neg"].distribution,
    "builtin": "canonicalize" in qc.passes(),
}))
"""


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugin installed; built from a copy, so that the checkout stays clean."""
    source = tmp_path_factory.mktemp("source") / "plugin"
    shutil.copytree(root / "examples" / "plugin", source)
    target = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", *options, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def _run(site: list[Path], root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(map(str, [*site, root]))
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_installed_plugin_is_a_peer(site: Path, root: Path) -> None:
    done = _run([site], root, "-c", _USE)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found == {
        "ops": ["Relu", "Neg"],
        "modified": True,
        "text": "fixed-point(drop-double-neg{limit=1},dead-code)",
        "equal": True,
        "pass": "Neg(Neg(x)) becomes x; exact in floating point.",
        "target": "The ONNX reference evaluator: slow, all float, good for comparing with.",
        "from": "qcompiler-plugin-example 0.1.0",
        "builtin": True,
    }


_VARIANT = """
import json
import numpy as np
import qcompiler as qc
from qcompiler.ir.text import from_text

rng = np.random.default_rng(0)
weight = rng.normal(0, 1, (64, 16)).astype(np.float32)
weight[0] = 40.0  # one input that is next to nothing has large weights
text = "g (float[8,64] x) => (float[8,16] y) <float[64,16] w> { [it] y = MatMul(x, w) }"
feeds = []
for _ in range(16):
    x = rng.normal(0, 1, (8, 64)).astype(np.float32)
    x[:, 0] *= 1e-3
    feeds.append({"x": x})
def compiled(**options):
    return qc.compile(from_text(text, {"w": weight}), calibration=feeds, scheme="int8", **options)
plain, found = compiled(variants=[]), compiled(recipe="best")
float_run = weight.astype(np.float64)
def noise(each):
    return sum(float(np.square(each.run(f)[0] - f["x"] @ float_run).sum()) for f in feeds)
print(json.dumps({
    "variants": list(found.plan.variants),
    "better": noise(found) < 0.25 * noise(plain),
    "told": [row.told for row in found.report.variants if "finer-columns" in row.name],
    "ok": found.verify().ok,
}))
"""


def test_its_accuracy_pass_takes_part(site: Path, root: Path) -> None:
    done = _run([site], root, "-c", _VARIANT)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert "finer-columns" in found["variants"]
    assert found["better"], found
    assert found["ok"]
    assert "kept" in found["told"][0]


def test_command_line_lists_it(site: Path, root: Path) -> None:
    done = _run([site], root, "-m", "qcompiler", "targets", "--json")
    assert done.returncode == 0, done.stderr
    assert "onnx-reference" in json.loads(done.stdout)


def test_a_second_distribution_with_the_name_is_an_error(
    site: Path, root: Path, tmp_path: Path
) -> None:
    rival = tmp_path / "rival-2.0.dist-info"
    rival.mkdir()
    (rival / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 2.0\n")
    (rival / "entry_points.txt").write_text("[qcompiler.passes]\ndrop-double-neg = rival:Pass\n")
    done = _run([site, tmp_path], root, "-m", "qcompiler", "passes")
    assert done.returncode == 2
    assert "registered twice" in done.stderr
    assert "qcompiler-plugin-example 0.1.0" in done.stderr
    assert "rival 2.0" in done.stderr


def test_without_the_installation_it_is_unknown(root: Path) -> None:
    done = _run([], root, "-c", "import qcompiler as qc; qc.Pipeline.parse('drop-double-neg')")
    assert done.returncode != 0
    assert "no pass 'drop-double-neg'" in done.stderr
