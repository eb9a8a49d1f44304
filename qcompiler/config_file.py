"""`quantization.toml`: what `compile` is asked for, in a file.

```toml
target = "onnxruntime"
scheme = "int8"
recipe = "balanced"

[ranges]
logits = [-8.0, 8.0]

[overrides]
"op:Gemm" = "float32"

[overrides."head.*"]
bits = 4
observer = "mse"
```
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcompiler.decisions.overrides import Override, override_of
from qcompiler.errors import ConfigurationError, did_you_mean
from qcompiler.files.reading import Door, as_path

_FILE = Door("the configuration", ConfigurationError, fix="it is TOML; docs/qat.md shows one")
_PLAIN: Mapping[str, tuple[type, ...]] = {
    "target": (str,),
    "scheme": (str,),
    "recipe": (str,),
    "plan": (str,),
    "pipeline": (str,),
    "objective": (str, dict),
    "loss": (str, dict),
    "max_loss": (int, float),
    "budget": (int, float),
    "variants": (list,),
    "ranges": (dict,),
}
"""Arguments of `compile` that are taken as they stand, by the types that TOML gives."""
_TABLES = ("overrides",)


def read_config(path: Path | str) -> dict[str, Any]:
    """Arguments for `compile`: `qc.compile(model, calibration=feeds, **qc.read_config(path))`.

    A `plan` is found beside the file.

    Raises:
        ConfigurationError: Not readable, not TOML, an unknown key or a value of another type;
            names the place.
    """
    file = as_path(path, "the configuration")
    text = _FILE.text(file)
    with _FILE.reading(file):  # a number of 5000 digits is a ValueError, for one
        try:
            body = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(
                f"{file} is no TOML", why=str(error), fix='write entries such as scheme = "int8"'
            ) from error
    known = (*_PLAIN, *_TABLES)
    for key, value in body.items():
        if key not in known:
            raise ConfigurationError(
                f"unknown key '{key}'",
                where=str(file),
                fix=did_you_mean(key, known, f"there are {', '.join(known)}"),
            )
        _require_type(file, key, value)
    found = {key: value for key, value in body.items() if key in _PLAIN}
    if "ranges" in found:
        found["ranges"] = {name: _pair(ends) for name, ends in found["ranges"].items()}
    if "plan" in found:
        found["plan"] = file.parent / found["plan"]
    if "overrides" in body:
        found["overrides"] = _overrides(body["overrides"], file)
    return found


def _require_type(file: Path, key: str, value: object) -> None:
    kinds = _PLAIN.get(key, (dict,))
    if isinstance(value, bool) or not isinstance(value, kinds):
        names = " or ".join(_NAMES[kind] for kind in kinds if kind is not int)
        raise ConfigurationError(
            f"'{key}' is {value!r}, not {names}",
            where=str(file),
            fix="docs/options.md says what each key takes",
        )


_NAMES: Mapping[type, str] = {str: "a text", float: "a number", list: "a list", dict: "a table"}


def _pair(ends: object) -> object:
    return tuple(ends) if isinstance(ends, list) else ends


def _overrides(table: Mapping[str, Any], file: Path) -> dict[str, str | Override]:
    found: dict[str, str | Override] = {}
    for pattern, value in table.items():
        where = f"{file}, overrides of '{pattern}'"
        if isinstance(value, str):
            found[pattern] = value
        elif isinstance(value, dict):
            found[pattern] = override_of(value, where)
        else:
            raise ConfigurationError(
                f"{value!r} is no override", where=where, fix='write "int8", or a table of entries'
            )
    return found


_DEFAULTS: Mapping[str, object] = {
    "target": "onnxruntime",
    "scheme": "auto",
    "recipe": "balanced",
    "objective": "latency",
}
"""What the command line has where nothing is written; None otherwise."""


def with_config(written: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that were written, and behind them those of a file.

    Args:
        written: Of the command line, defaults included. Overrides and ranges come behind those of
            the file, so that they win.
        config: As `read_config` gives them.
    """
    found = dict(written)
    for key, value in config.items():
        if key in ("overrides", "ranges"):
            found[key] = {**value, **(written.get(key) or {})}
        elif written.get(key) in (None, _DEFAULTS.get(key)):
            found[key] = value
    return found
