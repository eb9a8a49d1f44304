"""Variants: accuracy passes that are tried on a candidate and kept where the loss is lower.

A candidate is a plan and the variants that it is built with. Those that change the float program
or its ranges are chosen once, on the plan that quantizes every region, before the search; those
that change the placement are tried on every candidate that may be returned.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

from qcompiler.config import Recipe
from qcompiler.errors import ConfigurationError, RegistryError
from qcompiler.ir.program import Program
from qcompiler.ir.requests import RANGE, Request
from qcompiler.ir.signature import Feed
from qcompiler.measurement.unchanged import Glimpse, same_values, traces
from qcompiler.pipeline import registry
from qcompiler.pipeline.contract import Pass, PassContext, Stage
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.quantization.chosen import given, is_users, statistics_of
from qcompiler.quantization.observer import Observer
from qcompiler.quantization.qspace import U8_AFFINE
from qcompiler.statistics.statistic import Statistic
from qcompiler.target.contract import Target

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Variant:
    """An accuracy pass with its options.

    Attributes:
        text: As in a pipeline: `use-ranges{method=minmax}`.
        asked: Whether the user names it: then it is told where it is not tried.

    Raises:
        ConfigurationError: It is not one accuracy pass.
    """

    text: str
    asked: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise ConfigurationError(
                f"{self.text!r} is no variant",
                why="plans hold variants by name",
                fix='name an accuracy pass: "correct-bias"; one of your own is known by name once '
                "qcompiler.pipeline.registry.register_pass has its class",
            )
        passes = self._passes
        if len(passes) != 1 or passes[0].stage is None:
            raise ConfigurationError(
                f"'{self.text}' is no variant",
                why="a variant is one pass that has a stage",
                fix="`qcompiler.pipeline.contract.Stage` says what the stages are",
            )

    @cached_property
    def _passes(self) -> tuple[Pass, ...]:
        return Pipeline.parse(self.text).passes

    @property
    def accuracy(self) -> Pass:
        return self._passes[0]

    @property
    def stage(self) -> Stage:
        stage = self.accuracy.stage
        assert stage is not None
        return stage


def variants_of(
    recipe: Recipe, name: str, given: Sequence[str] | None = None
) -> tuple[Variant, ...]:
    """The variants of a recipe, passes of others that name it included; or those given.

    In the order of their stages: what rewrites the float program is calibrated anew, so ranges are
    chosen behind it, and the placement rests on both.

    Raises:
        ConfigurationError: One that was given is no accuracy pass.
    """
    if given is not None:
        texts = [given] if isinstance(given, str) else given
        if not isinstance(texts, Sequence):
            raise ConfigurationError(
                f"variants are {given!r}", fix='list accuracy passes: ["correct-bias"]'
            )
        return _by_stage([Variant(text, asked=True) for text in texts])
    listed = [Variant(text) for text in recipe.variants]
    known = {each.accuracy.name for each in listed}
    return _by_stage([*listed, *(e for e in _registered(name) if e.accuracy.name not in known)])


def _by_stage(variants: Sequence[Variant]) -> tuple[Variant, ...]:
    stages = list(Stage)
    return tuple(sorted(variants, key=lambda each: stages.index(each.stage)))


def _registered(recipe: str) -> list[Variant]:
    """Accuracy passes that ask to be tried by this recipe; one that does not load is left out.

    Our own are in the recipe's list: to ask all of them would import all of them.
    """
    found = []
    for name in registry.PASSES.names():
        if registry.PASSES.is_own(name):
            continue
        try:
            cls = registry.find_pass(name)
        except RegistryError:
            continue  # `qcompiler passes` names it; nobody asked for it here
        if cls.stage is not None and recipe in cls.recipes:
            found.append(Variant(name))
    return found


def with_base(
    program: Program,
    target: Target,
    variant: Variant,
    calibration: Sequence[Feed],
    wanted: Sequence[Variant] = (),
    fitting: Sequence[Feed] = (),
    overrides: Mapping[str, str] = MappingProxyType({}),
    glimpse: Glimpse | None = None,
) -> Program:
    """A copy of a calibrated program with a variant of the float or the ranges stage.

    The program itself where the variant changes nothing: neither the graph nor a range.

    Args:
        program: Calibrated; not changed.
        target: For the observers.
        variant: What changes it.
        calibration: Kept feeds: what ranges of a changed float program are taken from.
        wanted: Variants whose statistics are taken on the way.
        fitting: What the pass may fit to; `calibration` if empty.
        overrides: Precision by glob, for passes that ask which regions may be quantized.
        glimpse: Of the program, where several variants are tried on it.

    Raises:
        QCompilerError: The pass failed.
    """
    copy = replace(program)  # the pipeline clones the graph
    options = {"overrides": dict(overrides)}
    context = PassContext(target, samples=fitting or calibration, options=options)
    modified = Pipeline.parse(variant.text).run(copy, context).modified
    if not modified and copy.observations == program.observations:
        return program
    if variant.stage is Stage.FLOAT:
        seen = next(iter(program.observations.values()), None)
        method = "minmax" if seen is None else statistics_of(seen).name
        Pipeline.parse(f"dead-code,insert-observers{{method={method}}}").run(copy, context)
        ask(copy, target, wanted)
        if variant.accuracy.gains == "latency":  # exact: what keeps its name is what it was
            same = set(program.observations)
        else:
            same = _unchanged(glimpse or Glimpse(program), copy, calibration[:1])
        _observe(copy, program, same, PassContext(target, calibration))
        _keep_given(program, copy)
    return copy


def _unchanged(before: Glimpse, copy: Program, feeds: Sequence[Feed]) -> set[str]:
    """Values that a variant leaves as they are."""
    return {name for feed in feeds for name in same_values(before.traces(feed), traces(copy, feed))}


def _observe(copy: Program, program: Program, same: Set[str], context: PassContext) -> None:
    """Calibrates a rewritten program, but for the values that are what they were.

    They keep what the whole calibration saw. Kept feeds are a part of it, and those that candidates
    are judged on are among them: ranges that are taken anew look better there, and are worse in
    use.
    """
    wanted = copy.requests
    known = _answers(program, wanted)
    kept = {each: found for each, found in known.items() if each.value in same}
    copy.requests = {each: None for each in wanted if each not in kept}
    Pipeline.parse("calibrate").run(copy, context)
    answers = kept | _answers(copy, wanted)
    copy.requests = wanted
    found = [(each, answers[each]) for each in wanted if each in answers]
    copy.observations = {each.value: seen for each, seen in found if isinstance(seen, Observer)}
    copy.statistics = {each: seen for each, seen in found if isinstance(seen, Statistic)}


def _answers(program: Program, requests: Iterable[Request]) -> dict[Request, Observer | Statistic]:
    """What a program knows of what is asked."""
    ranges, rest = program.observations, program.statistics
    found = {
        each: ranges.get(each.value) if each.kind == RANGE else rest.get(each) for each in requests
    }
    return {each: seen for each, seen in found.items() if seen is not None}


def _keep_given(program: Program, copy: Program) -> None:
    """Ranges that the user gave are those of the copy, too."""
    for name, seen in program.observations.items():
        if is_users(seen) and name in copy.observations:
            wanted = seen.range_for(U8_AFFINE)
            copy.observations[name] = given(copy.observations[name], wanted.low, wanted.high)


def ask(program: Program, target: Target, variants: Sequence[Variant]) -> None:
    """Adds what variants want to be observed to the program's requests.

    One that fails at saying it gets nothing; whoever tries it finds out and reports why.
    """
    for variant in variants:
        try:
            wanted = tuple(variant.accuracy.requests(program, target))
        except Exception as error:  # noqa: BLE001 - anybody's pass; float is compiled without it
            _LOG.warning("variant %s asks for no statistics: %s", variant.text, error)
            continue
        program.requests |= dict.fromkeys(wanted)
