"""Installs of qcompiler into empty environments, and whether they work: `make test-matrix`.

    python .ci/installs.py files        wheel and sdist, without torch
    python .ci/installs.py extras       each extra alone, on top of nothing else
    python .ci/installs.py versions     oldest and newest dependencies on every interpreter
    python .ci/installs.py torch        the same with torch; CUDA builds of it are large

Each environment runs the demo, which compiles a network and counts right answers, and imports what
its extra is for. What cannot be installed here, for want of a wheel or of an interpreter, is told
as that, and is no failure; what is installed and does not work is one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("python3.11", "python3.12", "python3.13")
EXTRAS = {
    "torch": "torch",
    "openvino": "openvino",
    "executorch": "executorch",
    "tensorrt-check": "tensorrt_rtx_bindings",
    "dask": "distributed",
    "images": "PIL",
}
"""The module that each extra is for."""
LEAST_ACCURACY = 0.97
_SOURCES = "qcompiler,antlr4-python3-runtime"
"""Built from source, of Python alone: our own sdist, and what executorch needs without a wheel."""
_BUILD = """
import sys
from setuptools.build_meta import build_sdist, build_wheel
folder = sys.argv[1]  # setuptools writes over sys.argv
build_wheel(folder)
build_sdist(folder)
"""


@dataclass(frozen=True)
class Case:
    """An environment.

    Attributes:
        name: For the table.
        python: Interpreter.
        requirements: What pip is given.
        module: Imported besides qcompiler.
    """

    name: str
    python: str
    requirements: tuple[str, ...]
    module: str | None = None


def minima(extra: str | None = None) -> tuple[str, ...]:
    """The lowest version that pyproject.toml allows of every dependency, an extra's included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"][extra] if extra else []
    texts = [*project["dependencies"], *optional]
    return tuple(re.sub(r">=([\w.]+).*", r"==\1.*", text) for text in texts)


def cases(what: str, built: Sequence[Path]) -> Iterator[Case]:
    """The environments of one of the three questions."""
    own = sys.executable
    wheel = next(path for path in built if path.suffix == ".whl")
    if what == "files":
        yield from (Case(path.suffix, own, (str(path),)) for path in built)
    if what == "extras":
        for extra, module in EXTRAS.items():
            yield Case(f"extra {extra}", own, (f"{wheel}[{extra}]",), module)
    if what in ("versions", "torch"):
        also = "torch" if what == "torch" else None
        project = f"{wheel}[{also}]" if also else str(wheel)
        found = [path for name in PYTHONS if (path := interpreter(name))]
        for python in found or [own]:
            told = Path(python).name + (", torch" if also else "")
            yield Case(f"{told}, oldest", python, (project, *minima(also)), also)
            yield Case(f"{told}, newest", python, (project,), also)


def interpreter(name: str) -> str | None:
    """A Python of that name that runs: on the path, or the newest one that pyenv has.

    pyenv puts a script of every name on the path, which fails where no version is selected.
    """
    folder = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    versions = sorted(folder.glob(f"{name.removeprefix('python')}.*"), key=_number, reverse=True)
    for path in (shutil.which(name), *(str(each / "bin" / name) for each in versions)):
        if path is None or not Path(path).is_file():
            continue
        if not subprocess.run([path, "-V"], capture_output=True, check=False).returncode:
            return path
    return None


def _number(folder: Path) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", folder.name)]


def build(folder: Path) -> list[Path]:
    """Wheel and sdist, of a copy: what a build leaves beside the sources is found by imports."""
    command = [sys.executable, "-c", _BUILD]
    copy = folder / "source"
    skip = shutil.ignore_patterns(".git", ".venv", "__pycache__", "build", "*.egg-info")
    shutil.copytree(ROOT, copy, symlinks=True, ignore=skip)
    subprocess.run([*command, str(folder)], cwd=copy, check=True, capture_output=True)
    found = sorted(path for path in folder.iterdir() if path.suffix in {".whl", ".gz"})
    assert len(found) == 2, found
    return found


def tried(case: Case, folder: Path) -> str:
    """`ok`, `not installable: ...` or `FAILS: ...`."""
    subprocess.run([case.python, "-m", "venv", str(folder)], check=True, capture_output=True)
    python = str(folder / "bin" / "python")
    command = [python, "-m", "pip", "install", "--quiet", *case.requirements]
    # a dependency that has no wheel would be built for hours
    command += ["--only-binary", ":all:", "--no-binary", _SOURCES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"not installable: {_last(done.stderr)}"
    code = f"import qcompiler, {case.module}" if case.module else "import qcompiler"
    for command in ([python, "-c", code], [python, "-m", "qcompiler", "demo", "--json"]):
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": "", "QCOMPILER_CACHE": ""},
        )  # fmt: skip
        if done.returncode:
            return f"FAILS: {_last(done.stderr)}"
    before, after = json.loads(done.stdout)["accuracy"]
    return "ok" if min(before, after) >= LEAST_ACCURACY else f"FAILS: accuracy {before}, {after}"


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:160] if lines else ""


def main() -> int:
    """A line for each environment; 1 if one of them is installed and does not work."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("what", choices=["files", "extras", "versions", "torch"], nargs="+")
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = parser.parse_args().what
        built = build(folder)
        listed = [case for what in given for case in cases(what, built)]
        for number, case in enumerate(listed):
            found = tried(case, folder / f"venv{number}")
            shutil.rmtree(folder / f"venv{number}", ignore_errors=True)
            print(f"{case.name}: {found}", flush=True)
            failed = failed or found.startswith("FAILS")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
