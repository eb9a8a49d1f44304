"""What is written on the command line, as the objects that the library takes."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from qcompiler.artifacts import load_compiled
from qcompiler.calibration.feed_files import FeedFiles
from qcompiler.cli.numbers import images_of
from qcompiler.cli.options import Images
from qcompiler.compiled import Compiled
from qcompiler.errors import ConfigurationError, UnreadableModelError, users_code
from qcompiler.files.reading import Door, cause
from qcompiler.ir.signature import TensorSpec, signature_of
from qcompiler.outputs.asked import Asked, Loss
from qcompiler.pipeline.options import option_fields
from qcompiler.pipeline.registry import engines
from qcompiler.pipeline.targets import target_of
from qcompiler.target.capability import CapabilityTable
from qcompiler.target.contract import Target

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_MODEL = Door("the model", UnreadableModelError, fix="export it again")
_EXPORTED = ".pt2"


def is_function(written: str) -> bool:
    """Whether it is `module:function`, and not a file of that name."""
    return _FUNCTION.fullmatch(written) is not None and not Path(written).exists()


def function_of(written: str, what: str) -> Any:
    """What `module:function` names; modules of the working folder are found too.

    Raises:
        ConfigurationError: It is not written so, or there is no such module or function.
    """
    if _FUNCTION.fullmatch(written) is None:
        raise ConfigurationError(
            f"cannot read {what} '{written}'", fix="write package.module:function"
        )
    module, _, name = written.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:  # whatever the user's module does
        raise ConfigurationError(
            f"cannot import '{module}' for {what}",
            why=f"{type(error).__name__}: {cause(error)}",
            fix=f"write {module[:-3]}:{name}, without .py"
            if module.endswith(".py")
            else "check the name, and that Python finds it from this folder",
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigurationError(
                f"the module '{module}' has no '{name}'",
                where=what,
                fix="check the name behind the colon",
            )
        found = getattr(found, part)
    if not callable(found):
        kind = type(found).__name__
        raise ConfigurationError(
            f"'{written}' is a {kind}, no function", where=what, fix="name a function"
        )
    return found


def model_of(written: str) -> Any:
    """The path of an ONNX file, an exported program that is loaded, or what a function returns.

    Raises:
        ConfigurationError: No such function, or torch is needed and missing.
        UnreadableModelError: The exported program is damaged.
    """
    if is_function(written):
        make = function_of(written, "the model")
        with users_code(f"{written}, which makes the model"):
            return make()
    path = Path(written)
    if path.suffix != _EXPORTED:
        return path
    try:
        import torch
    except ImportError as error:
        raise ConfigurationError(
            "an exported program needs torch", why=str(error), fix="pip install 'qcompiler[torch]'"
        ) from error
    _MODEL.require_file(path)
    with _MODEL.reading(path):
        return torch.export.load(path)


def artifact_of(written: str) -> Any:
    """As `model_of`, and what a target has saved in a format of its own.

    Raises:
        QCompilerError: See `model_of` and `load_compiled`.
    """
    path = Path(written)
    if is_function(written) or path.suffix == _EXPORTED or path.suffix == ".onnx":
        return model_of(written)
    return load_compiled(path)


def data_of(
    written: Sequence[str] | None, model: Any, batch: int, images: Images
) -> Iterable[Any] | None:
    """Calibration data: files and folders, or what one function returns; None without any.

    Raises:
        CalibrationError, ConfigurationError: See `FeedFiles`, `images_of` and `function_of`.
    """
    preprocessing = images_of(images)
    if not written:
        if preprocessing.given or batch != 1:
            raise ConfigurationError(
                "options of calibration data without data", fix="give --calibration"
            )
        return None
    functions = [each for each in written if is_function(each)]
    if not functions:
        return FeedFiles(tuple(map(Path, written)), batch, _inputs(model), preprocessing)
    if len(written) > 1:
        raise ConfigurationError(
            "calibration data is one function, or files",
            where=functions[0],
            fix="give one of them",
        )
    make = function_of(written[0], "--calibration")
    with users_code(f"{written[0]}, which makes the calibration data"):
        feeds: Iterable[Any] | None = make()
    if feeds is None:
        raise ConfigurationError(
            f"{written[0]} returned None", where="--calibration", fix="return feeds, or yield them"
        )
    return feeds


def target_with(written: str, threads: int | None = None, *, several: bool = False) -> Target:
    """The target, with its option `threads` set if that is given.

    With `several`, it may stand for several engines.

    Raises:
        RegistryError, PipelineError: See `target_of`.
        ConfigurationError: It has no such option.
    """
    target = target_of(written, several=several)
    if threads is None:
        return target
    if "threads" not in option_fields(type(target)):
        raise ConfigurationError(
            f"target '{target.name}' has no option 'threads'",
            fix="leave --threads out",
        )
    options: dict[str, Any] = {"threads": threads}
    return replace(target, **options)


def tables_of(written: str | None) -> dict[str, CapabilityTable]:
    """The capability table of a target as it is written, or of every registered engine.

    Tables are data: they are there whether the engine is installed or not.

    Raises:
        RegistryError, PipelineError: See `target_of`.
    """
    names = engines() if written is None else [written]
    return {name: target_of(name).capabilities for name in names}


def all_targets() -> tuple[Target, ...]:
    """Every registered engine with its default options, installed or not."""
    return tuple(map(target_of, engines()))


def overrides_of(written: Sequence[str] | None, option: str = "--override") -> dict[str, str]:
    """Precision by pattern, from `PATTERN=PRECISION`.

    Raises:
        ConfigurationError: Something else.
    """
    found: dict[str, str] = {}
    for each in written or ():
        pattern, equals, precision = each.rpartition("=")
        if not (pattern and equals and precision):
            raise ConfigurationError(
                f"cannot read the override '{each}'", fix=f"write {option} 'head.*=float32'"
            )
        found[pattern] = precision
    return found


def losses_of(written: Sequence[str] | None) -> Asked | None:
    """`top1`, `module:function`, or one for each `output=loss`; None where nothing is said.

    Raises:
        ConfigurationError: One for all outputs beside others, or no such function.
    """
    if not written:
        return None
    if len(written) == 1 and "=" not in written[0]:
        return _loss_of(written[0])
    found: dict[str | int, Loss] = {}
    for each in written:
        output, equals, loss = each.rpartition("=")
        if not (output and equals and loss):
            raise ConfigurationError(
                f"cannot read the loss '{each}'", fix="write --loss top1, or --loss scores=top1"
            )
        found[output] = _loss_of(loss)
    return found


def _loss_of(written: str) -> Loss:
    found: Loss = function_of(written, "--loss") if is_function(written) else written
    return found


def variants_of(written: Sequence[str] | None) -> list[str] | None:
    """The variants to try: none for `none`, the recipe's for None."""
    if not written:
        return None
    return [] if list(written) == ["none"] else list(written)


def _inputs(model: Any) -> tuple[TensorSpec, ...]:
    """Of an ONNX file, its weights left where they are; empty if it cannot be read.

    Loading the model is what says why it cannot be.
    """
    if isinstance(model, Compiled):
        return model.program.signature.inputs
    if not isinstance(model, Path):
        return ()
    try:
        _MODEL.require_file(model)
        with _MODEL.reading(model):
            proto = onnx.load(model, load_external_data=False)
            stored = {each.name for each in proto.graph.initializer}
            bare = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import)
            bare.graph.name = "inputs"
            bare.graph.input.extend(each for each in proto.graph.input if each.name not in stored)
            return signature_of(ir.from_proto(bare)).inputs
    except UnreadableModelError:
        return ()


def ranges_of(written: Sequence[str] | None) -> dict[str, tuple[float, float]]:
    """Ranges by value, from `VALUE=LOW:HIGH`.

    Raises:
        ConfigurationError: Something else.
    """
    found: dict[str, tuple[float, float]] = {}
    for each in written or ():
        name, equals, ends = each.rpartition("=")
        low, colon, high = ends.partition(":")
        try:
            if not (name and equals and colon):
                raise ValueError(each)
            found[name] = float(low), float(high)
        except ValueError as error:
            raise ConfigurationError(
                f"cannot read the range '{each}'", fix="write --range 'logits=-8:8'"
            ) from error
    return found
