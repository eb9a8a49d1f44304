"""The module's calling convention: nested arguments to flat inputs, flat outputs to the nest."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind
from torch.utils import _pytree as pytree

from qcompiler.errors import ArtifactError, FeedError
from qcompiler.frontends.torch_call import Call
from qcompiler.frontends.torch_frozen import (
    Constant,
    dumped,
    missing_tensor,
    parsed,
    require_default,
    require_same,
    value_of,
)
from qcompiler.frontends.torch_nests import UnstorableError, dump_nest, leaves, parse_nest
from qcompiler.frontends.torch_parameters import (
    POSITIONAL,
    dump_signature,
    parse_signature,
    spread,
    unknown,
)
from qcompiler.frontends.torch_precision import Boundary
from qcompiler.frontends.torch_trees import children
from qcompiler.frontends.torch_types import name_of, type_names, typed
from qcompiler.ir.signature import Signature
from qcompiler.ir.sizes import SizeRule


@dataclass(frozen=True)
class Convention:
    """How nested arguments and results map to flat ones.

    Attributes:
        inputs: Nesting of (args, kwargs) in the capture.
        frozen: Per leaf of it, in a list of one, what torch.export froze (a number); None if fed.
        outputs: Nesting of the result.
        results: Per leaf of it, the frozen constant in a list of one; None for a graph output.
        signature: Of `forward`, if it has one of its own.
        rules: What the capture assumed of sizes, see `Signature.rules`.
        taken: By leaf of `inputs`, the source's own type where the capture has float32, else None.
        given: The same by leaf of `outputs`.
        stand_ins: Classes of a file that are not loaded here; others with their fields are used.
    """

    inputs: pytree.TreeSpec
    frozen: tuple[list[Any] | None, ...]
    outputs: pytree.TreeSpec
    results: tuple[list[Any] | None, ...]
    signature: inspect.Signature | None
    rules: tuple[SizeRule, ...] = ()
    taken: tuple[str | None, ...] = ()
    given: tuple[str | None, ...] = ()
    stand_ins: tuple[str, ...] = ()

    @property
    def positional(self) -> int:
        """How many arguments of the capture were positional."""
        return children(self.inputs)[0].num_children

    @property
    def keywords(self) -> tuple[str, ...]:
        """Names of the others."""
        return tuple(children(self.inputs)[1].context or ())

    def flatten(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[Any]:
        """The fed leaves of a call.

        The call may be spelled otherwise than the captured one (by position or by name, defaults
        given or left out), but has to mean the same: what the capture froze (None, numbers, flags,
        strings, defaults) has to have the same value.

        Raises:
            FeedError: It does not fit `forward`, is nested otherwise, or differs in a frozen value.
        """
        fed = []
        found = self._leaves(*self._as_captured(args, kwargs))
        for (path, leaf), frozen in zip(found, self.frozen, strict=True):
            if frozen is not None:
                require_same(path, leaf, frozen[0])
            elif leaf is None:
                raise missing_tensor(path)
            else:
                fed.append(leaf)
        return fed

    def arguments(self, fed: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The call (args, kwargs) with these leaves: what `flatten` took apart."""
        remaining = iter(fed)
        filled = [next(remaining) if each is None else value_of(each[0]) for each in self.frozen]
        filled = typed(filled, self.taken)
        args, kwargs = pytree.tree_unflatten(filled, self.inputs)
        return tuple(args), dict(kwargs)

    def unflatten(self, arrays: Sequence[Any]) -> Any:
        """The nested result, frozen constants put back."""
        remaining = iter(arrays)
        filled = [next(remaining) if each is None else each[0] for each in self.results]
        filled = typed(filled, self.given)
        return pytree.tree_unflatten(filled, self.outputs)

    def on(self, flat: Signature) -> Signature:
        """The signature of a graph with these inputs and outputs that is called so."""
        return replace(
            flat,
            flatten=self.flatten,
            unflatten=self.unflatten,
            convention=self.dump(),
            rules=self.rules,
        )

    def dump(self) -> str | None:
        """As JSON; None when it cannot be written, `unstorable` tells why."""
        try:
            return self._dumped()
        except (UnstorableError, TypeError, ValueError):
            return None

    @property
    def unstorable(self) -> str | None:
        """The container or value that keeps it from being written."""
        try:
            self._dumped()
        except (UnstorableError, TypeError, ValueError) as error:
            return str(error)
        return None

    def _dumped(self) -> str:
        body = {
            "inputs": dump_nest(self.inputs),
            "frozen": [dumped(each) for each in self.frozen],
            "outputs": dump_nest(self.outputs),
            "results": self.results,
            "signature": dump_signature(self.signature),
            "rules": [asdict(rule) for rule in self.rules],
            "taken": self.taken,
            "given": self.given,
        }
        return json.dumps(body)

    @classmethod
    def parse(cls, text: str) -> Convention:
        """Reads what `dump` wrote.

        Raises:
            ArtifactError: It is something else.
        """
        stand_ins: list[str] = []
        try:
            body = json.loads(text)
            return cls(
                parse_nest(body["inputs"], stand_ins),
                tuple(parsed(each) for each in body["frozen"]),
                parse_nest(body["outputs"], stand_ins),
                tuple(body["results"]),
                parse_signature(body["signature"]),
                tuple(SizeRule(**rule) for rule in body["rules"]),
                type_names(body.get("taken", ())),
                type_names(body.get("given", ())),
                tuple(dict.fromkeys(stand_ins)),
            )
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ArtifactError(
                "the calling convention cannot be read",
                why=str(error),
                fix="save the artifact again",
            ) from error

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user of a loaded artifact should know."""
        return tuple(
            f"the class {each} is not loaded: a stand-in with its fields takes its place; import "
            f"{each.partition(':')[0]} before the artifact"
            for each in self.stand_ins
        )

    def _leaves(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        positional, named = children(self.inputs)
        names = self._names(len(args))
        for name, value, spec in zip(names, args, children(positional), strict=True):
            yield from leaves(value, spec, name)
        for name, spec in zip(self.keywords, children(named), strict=True):
            yield from leaves(kwargs[name], spec, name)

    def _names(self, count: int) -> list[str]:
        """What positional arguments are called in messages."""
        found = [] if self.signature is None else list(self.signature.parameters.values())
        names = [each.name for each in found if each.kind in POSITIONAL][:count]
        rest = next((each.name for each in found if each.kind is each.VAR_POSITIONAL), "argument ")
        return names + [f"{rest}[{index}]" for index in range(count - len(names))]

    def _as_captured(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The same arguments, split into positional and named like the call of the capture."""
        if self.signature is None:
            _require_counts(self, args, kwargs)
            return tuple(args), dict(kwargs)
        try:
            given = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise FeedError(
                "the arguments do not fit the module",
                where=f"forward{self.signature}",
                why=str(error),
                fix="call it as the module, or with one feed in the form of calibration's",
            ) from error
        wanted = self._captured_parameters()
        for name, value in given.arguments.items():
            if name not in wanted:
                require_default(self.signature.parameters[name], value)
        given.apply_defaults()
        positional, named = spread(given, self.positional)
        left = {name: named[name] for name in self.keywords if name in named}
        _require_counts(self, positional, left | unknown(given, self.keywords))
        return positional, left

    def _captured_parameters(self) -> frozenset[str]:
        """Parameters of `forward` that the captured call gave."""
        assert self.signature is not None
        bound = self.signature.bind(*[None] * self.positional, **dict.fromkeys(self.keywords))
        return frozenset(bound.arguments)


def _require_counts(convention: Convention, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """As many positional arguments, and named ones of the same names, as in the capture."""
    if len(args) != convention.positional:
        raise FeedError(
            f"the call has {len(args)} positional arguments, the captured one had "
            f"{convention.positional}",
            fix="call it with as many arguments as calibration did",
        )
    unlike = [name for name in kwargs if name not in convention.keywords]
    missing = [name for name in convention.keywords if name not in kwargs]
    if unlike or missing:
        what = f"argument '{unlike[0]}' was not" if unlike else f"argument '{missing[0]}' was"
        raise FeedError(
            f"{what} part of the captured call",
            why="the compiled program was made for the arguments of calibration alone",
            fix="call it with those, or compile again with feeds that have the others",
        )


def calling_convention(
    exported: torch.export.ExportedProgram,
    call: Call,
    rules: Sequence[SizeRule] = (),
    boundary: Boundary = Boundary(),  # noqa: B008 - frozen
) -> Convention:
    """The convention of a captured module.

    Arguments that torch.export froze (None, numbers, strings) are left out of the feed and put
    back into the outputs.
    """
    spec, made = exported.call_spec.in_spec, exported.call_spec.out_spec
    assert spec is not None
    assert made is not None
    inputs = [e for e in exported.graph_signature.input_specs if e.kind == InputKind.USER_INPUT]
    outputs = [e for e in exported.graph_signature.output_specs if e.kind == OutputKind.USER_OUTPUT]
    taken, given = (tuple(map(name_of, leaves)) for leaves in (boundary.taken, boundary.given))
    return Convention(
        spec,
        tuple(
            [Constant.of(call.opaque[number])] if number in call.opaque else each
            for number, each in enumerate(_frozen_ones(inputs))
        ),
        made,
        _frozen_ones(outputs),
        call.signature,
        tuple(rules),
        taken if len(taken) == len(inputs) else (),
        given if len(given) == len(outputs) else (),
    )


def _frozen_ones(specs: Sequence[Any]) -> tuple[list[Any] | None, ...]:
    return tuple(
        [each.arg.value] if isinstance(each.arg, ConstantArgument) else None for each in specs
    )
