"""What a user names as a target, as a `Target`, and the engines that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from qcompiler.decisions.schemes import SCHEMES
from qcompiler.errors import ConfigurationError, RegistryError
from qcompiler.ir.plan import Plan
from qcompiler.pipeline import registry
from qcompiler.pipeline.options import option_fields
from qcompiler.pipeline.text import build_target, parse
from qcompiler.target.contract import Target


@dataclass(frozen=True)
class Members:
    """The engines that are tried.

    Attributes:
        named: Those that are installed, by the name they were given; the float of the first is the
            yardstick.
        absent: Why the others are not there, by name.
        several: Whether the user asked for the fastest of several.
    """

    named: Mapping[str, Target]
    absent: Mapping[str, str]
    several: bool

    @property
    def targets(self) -> tuple[Target, ...]:
        """The engines."""
        return tuple(self.named.values())


def target_of(given: str | Target, *, several: bool = False) -> Target:
    """A target by name, as `name{option=value}`, or as it is.

    Args:
        given: What the user wrote.
        several: Whether it may stand for several engines.

    Raises:
        PipelineError: The text breaks the grammar, or an option is wrong.
        RegistryError: An unknown target.
        ConfigurationError: Neither a name nor a Target, or one that stands for several engines.
    """
    if not isinstance(given, Target):
        if not isinstance(given, str):
            raise ConfigurationError(
                f"a {type(given).__name__} is no target: {repr(given)[:60]}",
                fix="give a name or a Target; data is named: compile(model, calibration=feeds)",
            )
        given = _named(given)
    if given.members and not several:
        raise ConfigurationError(
            f"the target '{given.name}' stands for several engines",
            fix=f"name one of them: {', '.join(given.members)}",
        )
    return given


def _named(written: str) -> Target:
    """Raises RegistryError for an unknown name; a scheme's is told as that."""
    try:
        return build_target(written, registry.find_target)
    except RegistryError:
        if written not in SCHEMES:
            raise
        raise RegistryError(
            f"there is no target '{written}'",
            why="it is the name of a scheme",
            fix=f"write compile(model, scheme='{written}')",
        ) from None


def members_of(target: Target, plan: Plan | None = None) -> Members:
    """The engines that a target stands for; itself if it is one.

    Options of the target that an engine has too are passed on. A plan is of one engine.

    Raises:
        RegistryError: It names an engine that nobody registered.
        ConfigurationError: No engine is left.
    """
    if not target.members:
        return Members({target.name: target}, {}, False)
    found, absent = {}, {}
    for name in target.members:
        (written,) = parse(name)
        if plan is not None and plan.target != written.name:
            absent[name] = f"the plan is for {plan.target}"
            continue
        try:
            engine = _engine(target, name)
        except RegistryError as error:
            if written.name not in registry.TARGETS.names():
                raise
            absent[name] = error.why or error.what
            continue
        why = f"not installed: {', '.join(engine.missing)}" if engine.missing else engine.unsuited
        if why is None:
            found[name] = engine
        else:
            absent[name] = why
    if not found:
        told = "; ".join(f"{name}: {why}" for name, why in absent.items())
        raise ConfigurationError(
            f"the target '{target.name}' has no engine left",
            why=told,
            fix="install one of them: pip install openvino, or torch",
        )
    return Members(found, absent, True)


def _engine(target: Target, written: str) -> Target:
    """An engine with the options that it was written with, and those that are passed on."""
    engine = build_target(written, registry.find_target)
    own, known = option_fields(type(target)), option_fields(type(engine))
    options: dict[str, Any] = {
        each: getattr(target, each)
        for each, option in own.items()
        if each in known and getattr(target, each) != option.default
    }
    return replace(engine, **options)
