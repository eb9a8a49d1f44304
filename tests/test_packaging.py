"""What is installed is what is in the tree: wheel, package list, pins, type check."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"qcompiler": "qcompiler", "passes": "qcompiler.passes", "backends": "qcompiler.backends"}
# Distributions whose import name is another one.
IMPORT_NAMES = {
    "onnx-ir": "onnx_ir",
    "pillow": "PIL",
    "protobuf": "google",
    "scikit-learn": "sklearn",
    "tensorrt-rtx-cu12-bindings": "tensorrt_rtx_bindings",
}


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def own_modules() -> Iterator[tuple[str, Path]]:
    """(package, file) of every Python file that is ours; links are not followed."""
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            inner = path.parent.relative_to(ROOT / folder).parts
            if folder != "qcompiler" or not {"passes", "backends"} & set(inner[:1]):
                yield ".".join([package, *inner]), path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as pip builds it, from a copy of the sources with the links kept."""
    copy = tmp_path_factory.mktemp("source") / "qcompiler"
    skip = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info", "demo-output")
    shutil.copytree(ROOT, copy, symlinks=True, ignore=skip)
    target = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*command, "-w", str(target), str(copy)], check=True, capture_output=True)
    (found,) = target.glob("*.whl")
    return found


def names_in(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_wheel_has_one_top_level_name(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names_in(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"qcompiler"}


def test_wheel_holds_each_module_once(wheel: Path) -> None:
    names = [name for name in names_in(wheel) if name.endswith(".py")]
    expected = {f"{package.replace('.', '/')}/{path.name}" for package, path in own_modules()}
    assert len(names) == len(set(names))
    assert set(names) == expected


def test_wheel_is_typed_and_licensed(wheel: Path) -> None:
    names = names_in(wheel)
    assert "qcompiler/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_holds_what_the_report_page_is_made_of(wheel: Path) -> None:
    page = ROOT / "qcompiler" / "report" / "page"
    wanted = {f"qcompiler/report/page/{each.name}" for each in page.iterdir() if each.is_file()}
    assert len(wanted) >= 7
    assert wanted <= set(names_in(wheel))


def test_wheel_runs_where_it_is_unpacked(wheel: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.path = [p for p in sys.path if 'editable' not in p];"
        f"sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f)];"
        f"sys.path.insert(0, {str(wheel)!r});"
        "from importlib import import_module as load;"
        "print(*(load(f'qcompiler.{n}').__file__ for n in ('passes', 'backends')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert [Path(p).is_relative_to(wheel) for p in done.stdout.split()] == [True, True]


def test_package_list_matches_the_tree(config: dict[str, Any]) -> None:
    listed = config["tool"]["setuptools"]["packages"]
    assert len(listed) == len(set(listed))
    assert set(listed) == {package for package, _ in own_modules()}


def test_every_folder_with_modules_is_a_package() -> None:
    bare = {path.parent for _, path in own_modules() if not (path.parent / "__init__.py").exists()}
    assert bare == set()


@pytest.mark.parametrize("name", ["passes", "backends"])
def test_links_are_relative_and_point_at_the_root(name: str) -> None:
    link = ROOT / "qcompiler" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name


@pytest.mark.parametrize("name", ["passes", "backends"])
def test_bare_import_is_refused(name: str) -> None:
    code = f"import {name}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"ImportError: the folder {name}/ is the package qcompiler.{name}" in done.stderr


@pytest.mark.parametrize("name", ["qcompiler", "qcompiler.passes", "qcompiler.backends"])
def test_installed_package_imports_from_anywhere(name: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", f"import {name}"], cwd=tmp_path, check=True)


@pytest.mark.parametrize("group", ["qcompiler.passes", "qcompiler.backends"])
def test_entry_points_name_things_that_exist(config: dict[str, Any], group: str) -> None:
    declared = config["project"]["entry-points"][group]
    missing = []
    for name, target in declared.items():
        module, _, attribute = target.partition(":")
        files = {f"{p}.{f.stem}".removesuffix(".__init__"): f for p, f in own_modules()}
        tree = ast.parse(files[module].read_text(encoding="utf-8")) if module in files else None
        classes = {n.name for n in tree.body if isinstance(n, ast.ClassDef)} if tree else set()
        if attribute not in classes:
            missing.append(name)
    assert missing == []


@pytest.mark.parametrize("group", ["qcompiler.passes", "qcompiler.backends"])
def test_installed_entry_points_are_those_of_pyproject(config: dict[str, Any], group: str) -> None:
    declared = config["project"]["entry-points"][group]
    points = importlib.metadata.distribution("qcompiler").entry_points.select(group=group)
    assert {p.name: p.value for p in points} == declared, "pyproject changed: run `make install`"


def third_party_imports() -> set[str]:
    found = set()
    for _, path in own_modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"qcompiler"}


def test_every_import_is_declared(config: dict[str, Any]) -> None:
    project = config["project"]
    texts = list(project["dependencies"])
    for name, extra in project["optional-dependencies"].items():
        texts += extra if name != "dev" else []
    names = {Requirement(text).name for text in texts}
    importable = {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}
    assert third_party_imports() - importable == set()


def pins() -> dict[NormalizedName, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    rows = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines if line[:1] != "#"]
    assert all(rows), "only plain name==version lines"
    return {canonicalize_name(row[1]): row[2] for row in rows if row}


def required(name: str, extras: set[str], seen: dict[str, set[str]]) -> None:
    """Add to `seen` every distribution that installing `name[extras]` brings along."""
    fresh = extras - seen.get(name, set())
    if name in seen and not fresh:
        return
    seen.setdefault(name, set()).update(extras)
    for text in importlib.metadata.distribution(name).requires or []:
        need = Requirement(text)
        contexts = [{"extra": extra} for extra in extras | {""}]
        if need.marker is None or any(need.marker.evaluate(context) for context in contexts):
            required(canonicalize_name(need.name), set(need.extras), seen)


def present(requirements: list[str]) -> bool:
    names = [Requirement(text).name for text in requirements]
    return all(any(importlib.metadata.distributions(name=name)) for name in names)


def test_every_installed_distribution_is_pinned(config: dict[str, Any]) -> None:
    """What `make` installs, and the extras that `.ci/run` adds, where they are installed."""
    extras = config["project"]["optional-dependencies"]
    added = {name for name in ("openvino", "tensorrt-check", "docs") if present(extras[name])}
    seen: dict[str, set[str]] = {}
    required("qcompiler", {"torch", "dask", "dev"} | added, seen)
    assert set(seen) - {"qcompiler"} - set(pins()) == set()


def test_pins_allow_what_is_installed() -> None:
    installed = {
        canonicalize_name(d.metadata["Name"]): d.version.partition("+")[0]
        for d in importlib.metadata.distributions()
    }
    wrong = {
        n: (v, installed[n]) for n, v in pins().items() if n in installed and v != installed[n]
    }
    assert wrong == {}


def test_pins_satisfy_the_declared_ranges(config: dict[str, Any]) -> None:
    project, fixed = config["project"], pins()
    texts = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    needs = [Requirement(text) for text in texts]
    bad = [
        str(need)
        for need in needs
        if (pin := fixed.get(canonicalize_name(need.name))) and pin not in need.specifier
    ]
    assert bad == []


def test_no_file_names_a_machine_or_an_index() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    suffixes = {".py", ".toml", ".txt", ".md", ".yaml", ""}
    pattern = re.compile(
        r"(?<![\w.<])/(?:work|root|home|opt)/\w|--(?:extra-)?index-url|--find-links"
    )
    found = [
        path.name
        for path in paths
        if path.suffix in suffixes
        and path.is_file()
        and path != Path(__file__)
        and pattern.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_hooks_fetch_nothing() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"repo: (\S+)", text)) == {"local"}
    assert set(re.findall(r"language: (\S+)", text)) == {"system"}


def test_pyproject_is_the_only_configuration_file() -> None:
    others = (
        "setup.py",
        "setup.cfg",
        "pytest.ini",
        "mypy.ini",
        "ruff.toml",
        "tox.ini",
        ".coveragerc",
    )
    assert [name for name in others if (ROOT / name).exists()] == []


def test_tests_hold_no_packages() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.slow
def test_mypy_checks_the_linked_folders(tmp_path: Path) -> None:
    """A type error planted in a copy of passes/ is found under the name qcompiler.passes."""
    copy = tmp_path / "tree"
    copy.mkdir()
    for name in FOLDERS:
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", copy)
    for name in ("passes", "backends"):
        (copy / name / "planted.py").write_text("value: int = 'text'\n", encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "qcompiler", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert "qcompiler/passes/planted.py:1: error: Incompatible types" in done.stdout
    assert "qcompiler/backends/planted.py:1: error: Incompatible types" in done.stdout


def test_mypy_is_given_every_root_folder_with_python(config: dict[str, Any]) -> None:
    given = set(config["tool"]["mypy"]["files"])
    folders = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")}
    with_python = {name for name in folders if any((ROOT / name).rglob("*.py"))}
    assert with_python - {"build", "demo-output", "passes", "backends"} == given
