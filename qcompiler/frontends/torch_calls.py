"""The module's calling convention: nested arguments to flat inputs, flat outputs to the nest."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind
from torch.utils import _pytree as pytree

from qcompiler.errors import FeedError
from qcompiler.frontends.torch_capture import Call

_EMPTY = inspect.Parameter.empty
_KINDS = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.KEYWORD_ONLY,
    inspect.Parameter.VAR_KEYWORD,
)


@dataclass(frozen=True)
class Convention:
    """How nested arguments and results map to flat ones.

    Attributes:
        inputs: Nesting of (args, kwargs) in the capture.
        frozen: Per leaf of it, in a list of one, what torch.export froze (a number); None if fed.
        outputs: Nesting of the result.
        results: Per leaf of it, the frozen constant in a list of one; None for a graph output.
        positional: How many arguments of the capture were positional.
        keywords: Names of the others.
        signature: Of `forward`, if it has one of its own.
    """

    inputs: pytree.TreeSpec
    frozen: tuple[list[Any] | None, ...]
    outputs: pytree.TreeSpec
    results: tuple[list[Any] | None, ...]
    positional: int
    keywords: tuple[str, ...]
    signature: inspect.Signature | None

    def flatten(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[Any]:
        """The fed leaves of a call.

        Raises:
            FeedError: The arguments do not fit `forward`, or are nested otherwise.
        """
        leaves, found = pytree.tree_flatten(self._as_captured(args, kwargs))
        if len(leaves) != len(self.frozen) or found != self.inputs:
            raise FeedError(
                "the arguments are not nested like the example inputs",
                why=f"expected {self.inputs}, got {found}",
            )
        return [leaf for leaf, each in zip(leaves, self.frozen, strict=True) if each is None]

    def arguments(self, fed: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The call (args, kwargs) with these leaves: what `flatten` took apart."""
        remaining = iter(fed)
        leaves = [next(remaining) if each is None else each[0] for each in self.frozen]
        args, kwargs = pytree.tree_unflatten(leaves, self.inputs)
        return tuple(args), dict(kwargs)

    def unflatten(self, arrays: Sequence[Any]) -> Any:
        """The nested result, frozen constants put back."""
        remaining = iter(arrays)
        leaves = [next(remaining) if each is None else each[0] for each in self.results]
        return pytree.tree_unflatten(leaves, self.outputs)

    def dump(self) -> str | None:
        """As JSON; None when a container type is not known to `torch.utils._pytree` by name."""
        try:
            body = {
                "inputs": pytree.treespec_dumps(self.inputs),
                "frozen": self.frozen,
                "outputs": pytree.treespec_dumps(self.outputs),
                "results": self.results,
                "positional": self.positional,
                "keywords": self.keywords,
                "signature": _parameters(self.signature),
            }
            return json.dumps(body)
        except (NotImplementedError, TypeError, ValueError):
            return None

    @classmethod
    def parse(cls, text: str) -> Convention:
        """Reads what `dump` wrote."""
        body = json.loads(text)
        return cls(
            pytree.treespec_loads(body["inputs"]),
            tuple(body["frozen"]),
            pytree.treespec_loads(body["outputs"]),
            tuple(body["results"]),
            int(body["positional"]),
            tuple(body["keywords"]),
            _signature(body["signature"]),
        )

    def _as_captured(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The same arguments, split into positional and named like the call of the capture."""
        same = len(args) == self.positional and set(kwargs) == set(self.keywords)
        if same or self.signature is None:
            return tuple(args), {name: kwargs[name] for name in self.keywords if name in kwargs}
        try:
            bound = self.signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            if args and isinstance(args[-1], dict) and not kwargs:  # a feed (arg, ..., {name: arg})
                return self._as_captured(args[:-1], args[-1])
            raise FeedError("the arguments do not fit the module", why=str(error)) from error
        named = list(bound)[: self.positional]
        rest = {name: bound[name] for name in self.keywords if name in bound}
        return tuple(bound[name] for name in named), rest


def calling_convention(exported: torch.export.ExportedProgram, call: Call) -> Convention:
    """The convention of a captured module.

    Arguments that torch.export froze (None, numbers, strings) are left out of the feed and put
    back into the outputs.
    """
    spec, made = exported.call_spec.in_spec, exported.call_spec.out_spec
    assert spec is not None
    assert made is not None
    inputs = [e for e in exported.graph_signature.input_specs if e.kind == InputKind.USER_INPUT]
    outputs = [e for e in exported.graph_signature.output_specs if e.kind == OutputKind.USER_OUTPUT]
    return Convention(
        spec,
        tuple(
            [each.arg.value] if isinstance(each.arg, ConstantArgument) else None for each in inputs
        ),
        made,
        tuple(
            [each.arg.value] if isinstance(each.arg, ConstantArgument) else None for each in outputs
        ),
        len(call.args),
        tuple(call.kwargs),
        call.signature,
    )


def _parameters(signature: inspect.Signature | None) -> list[list[Any]] | None:
    """Name, kind and whether it may be left out, per parameter."""
    if signature is None:
        return None
    found = signature.parameters.values()
    return [[each.name, int(each.kind), each.default is not _EMPTY] for each in found]


def _signature(rows: list[list[Any]] | None) -> inspect.Signature | None:
    if rows is None:
        return None
    kinds = {int(kind): kind for kind in _KINDS}
    return inspect.Signature(
        [
            inspect.Parameter(name, kinds[kind], default=None if optional else _EMPTY)
            for name, kind, optional in rows
        ]
    )
