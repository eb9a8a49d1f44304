"""The version of this package."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path


def own_version() -> str:
    """Such as `0.1.0`; `unknown` where the package was copied without its metadata.

    In a checkout its own file is the truth: it may not be installed, and the metadata of an
    editable installation is as old as the installation.
    """
    file = Path(__file__).parent.parent / "pyproject.toml"
    if file.is_file():
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == "qcompiler":
            return str(project["version"])
    try:
        return importlib.metadata.version("qcompiler")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
