"""What a user names as a target, as a `Target`."""

from __future__ import annotations

from qcompiler.errors import ConfigurationError
from qcompiler.pipeline import registry
from qcompiler.pipeline.text import build_target
from qcompiler.target.contract import Target


def target_of(given: str | Target) -> Target:
    """A target by name, as `name{option=value}`, or as it is.

    Raises:
        PipelineError: The text breaks the grammar, or an option is wrong.
        RegistryError: An unknown target.
        ConfigurationError: Neither a name nor a Target.
    """
    if isinstance(given, Target):
        return given
    if not isinstance(given, str):
        raise ConfigurationError(f"{given!r} is no target", fix="give a name or a Target")
    return build_target(given, registry.find_target)
