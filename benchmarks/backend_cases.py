"""The models of the ONNX backend suite, with the inputs and outputs of the `onnx` package.

Node models are made by the package's own Python modules; `simple` ones too; those from PyTorch are
files. Models that the package only names by URL are left out: 2024 remain in onnx 1.23.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.loader import DATA_DIR

T = TypeVar("T")
_FILES = ("simple", "pytorch-converted", "pytorch-operator")


@dataclass(frozen=True)
class Case:
    """A model, one call of it, and what has to come out.

    Attributes:
        name: As in the suite.
        model: Never to be written to.
        inputs: Arrays, lists of arrays (sequences) or None (optionals) by input name.
        outputs: Expected values in graph order.
        rtol: Relative tolerance that the suite gives.
        atol: Absolute tolerance that the suite gives.
    """

    name: str
    model: onnx.ModelProto
    inputs: dict[str, Any]
    outputs: tuple[Any, ...]
    rtol: float
    atol: float

    @property
    def ops(self) -> tuple[str, ...]:
        """The op types of the main graph, sorted."""
        return tuple(sorted({node.op_type for node in self.model.graph.node}))

    def with_constants(self) -> Case:
        """The same with every input but the first an initializer, as weights are.

        Only tensors become constants: a sequence, an optional or a type that numpy lacks stays.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        fed = dict(self.inputs)
        for info in list(model.graph.input)[1:]:
            value = fed.get(info.name)
            if isinstance(value, np.ndarray) and info.type.HasField("tensor_type"):
                tensor = onnx.numpy_helper.from_array(value, info.name)
                if tensor.data_type != info.type.tensor_type.elem_type:
                    continue
                model.graph.initializer.append(tensor)
                model.graph.input.remove(info)
                del fed[info.name]
        return replace(self, model=model, inputs=fed)


def cases(sample: int | None = None) -> list[Case]:
    """The cases of the suite in a fixed order.

    Args:
        sample: Take about so many, evenly spread over the suite; all by default. Only the modules
            of what is taken are run, so that a sample is quick to load.
    """
    if sample is None:
        return sorted((*_from_files(), *_from_modules(_modules())), key=lambda case: case.name)
    files = sorted(_from_files(), key=lambda case: case.name)
    from_files = _spread(files, sample // 8)
    nodes = _spread(_modules(), sample - len(from_files))
    made = [_from_module(name) for name in nodes]
    return from_files + [_spread(found, 1)[0] for found in made if found]


def _spread(items: Sequence[T], count: int) -> list[T]:
    """`count` of the items, evenly spread."""
    count = min(count, len(items))
    return [items[(2 * index + 1) * len(items) // (2 * count)] for index in range(count)]


def _modules() -> list[str]:
    import onnx.backend.test.case.node as package

    names = [info.name for info in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
    return sorted(names)


def _from_modules(names: Sequence[str]) -> Iterator[Case]:
    for name in names:
        yield from _from_module(name)


@cache
def _from_module(name: str) -> tuple[Case, ...]:
    """What a module of `onnx.backend.test.case.node` adds to the list there when it is imported.

    One that somebody imported before is read once more, and the list left as it was.
    """
    import onnx.backend.test.case.node as package

    listed, names = package._NodeTestCases, dict(package._existing_names)
    before, known = len(listed), sys.modules.pop(name, None)
    if known is not None:
        package._existing_names.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflows in the expected values' own arithmetic
        importlib.import_module(name)
    made = tuple(_from_memory(each) for each in listed[before:])
    if known is not None:
        sys.modules[name] = known
        package._existing_names.update(names)
        del listed[before:]
    return made


def _from_memory(made: TestCase) -> Case:
    assert made.model is not None
    assert made.data_sets is not None
    inputs, outputs = made.data_sets[0]
    names = [info.name for info in made.model.graph.input]
    fed = {name: _value(each) for name, each in zip(names, inputs, strict=False)}
    return Case(made.name, made.model, fed, tuple(_value(o) for o in outputs), made.rtol, made.atol)


def _from_files() -> Iterator[Case]:
    for kind in _FILES:
        for folder in sorted(Path(DATA_DIR, kind).iterdir()):
            if (folder / "model.onnx").is_file():
                yield _from_folder(folder)


def _from_folder(folder: Path) -> Case:
    model = onnx.load(folder / "model.onnx")
    data = folder / "test_data_set_0"
    weights = {tensor.name for tensor in model.graph.initializer}
    infos = [info for info in model.graph.input if info.name not in weights]
    fed = {info.name: _read(data / f"input_{i}.pb", info) for i, info in enumerate(infos)}
    outputs = [_read(data / f"output_{i}.pb", info) for i, info in enumerate(model.graph.output)]
    return Case(folder.name, model, fed, tuple(outputs), 1e-3, 1e-7)


def _read(path: Path, info: onnx.ValueInfoProto) -> Any:
    content = path.read_bytes()
    if info.type.HasField("sequence_type"):
        sequence = onnx.SequenceProto.FromString(content)
        return onnx.numpy_helper.to_list(sequence)
    if info.type.HasField("optional_type"):
        return onnx.numpy_helper.to_optional(onnx.OptionalProto.FromString(content))
    return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(content))


def _value(given: Any) -> Any:
    """Arrays for tensors; numpy's scalars become arrays of rank 0."""
    if isinstance(given, onnx.TensorProto):
        return onnx.numpy_helper.to_array(given)
    if isinstance(given, list):
        return [_value(each) for each in given]
    return given if given is None else np.asarray(given)
