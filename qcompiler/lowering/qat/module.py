"""`QatModule`: a program as a module that is trained with its quantization in place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import onnx
import onnx_ir as ir
import torch
from torch import Tensor, fx, nn

from qcompiler.errors import ConfigurationError
from qcompiler.frontends.torch_calls import Convention
from qcompiler.ir.plan import Plan
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Signature, signature_of
from qcompiler.lowering.qat.batch_norm import LiveBatchNorm, PlainBatchNorm
from qcompiler.lowering.qat.quantizer import Quantizer
from qcompiler.lowering.qat.strategy import GridRead


@dataclass(frozen=True, eq=False)
class QatRecord:
    """What lowering the trained module goes by.

    Attributes:
        program: The float program, canonical and folded.
        plan: Precision of every region.
        scheme: Name of the scheme that the plan follows; for other targets.
        constants: Node of the graph that gives a constant, by its name in the program.
        stored: Grids of stored operands, by reader and input.
        values: Quantizer of a value, by its name.
        own: Names that the source's state dict has.
        unread: Those of them that the module does not compute with.
        notes: What the user should know.
    """

    program: Program
    plan: Plan
    scheme: str
    constants: Mapping[str, str]
    stored: Mapping[tuple[str, int], GridRead]
    values: Mapping[str, str]
    own: frozenset[str]
    unread: frozenset[str]
    notes: tuple[str, ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> QatRecord:
        return self  # nothing of it is ever changed

    def __getstate__(self) -> dict[str, Any]:
        """Plain data: a program's signature holds functions."""
        signature, provenance = self.program.signature, self.program.provenance
        if signature.flatten is not None and signature.convention is None:
            raise ConfigurationError(
                "the module cannot be pickled: how it is called cannot be written",
                why="; ".join(provenance.warnings) or None,
                fix="keep module.state_dict() and prepare the source again",
            )
        proto = ir.to_proto(self.program.model)
        own = replace(provenance, computed=())
        body = {**self.__dict__, "program": proto.SerializeToString(), "provenance": own}
        return {**body, "convention": signature.convention}

    def __setstate__(self, state: dict[str, Any]) -> None:
        own, convention = state.pop("provenance"), state.pop("convention")
        model = ir.from_proto(onnx.ModelProto.FromString(state.pop("program")))
        program = Program(model, _signature(model, convention), own)
        self.__dict__.update(state, program=program)


def _signature(model: ir.Model, convention: str | None) -> Signature:
    flat = signature_of(model)
    return flat if convention is None else Convention.parse(convention).on(flat)


class QatModule(nn.Module):
    """The source with fake quantization: called, trained and saved as the source is.

    A torch source's `forward` and names of parameters are the module's, and its state dict fits; an
    ONNX model takes its inputs in order or by name and gives its output, or a tuple of several.
    Further entries of the state dict are steps and offsets of quantizers.

    Attributes:
        record: What lowering goes by.
    """

    def __init__(self, built: fx.GraphModule, record: QatRecord) -> None:
        super().__init__()
        taken = [name for name in _names_of(built) if hasattr(QatModule, name)]
        if taken:
            raise ConfigurationError(
                f"the source has a part named '{taken[0]}', which the trained module needs itself",
                fix="rename it",
            )
        for name, child in built.named_children():
            self.add_module(name, child)
        for name, parameter in built.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        kept = built._non_persistent_buffers_set
        for name, buffer in built.named_buffers(recurse=False):
            self.register_buffer(name, buffer, persistent=name not in kept)
        self.record = record
        self._run = _function_of(built)
        self._graph = _free(built.graph)
        self.register_load_state_dict_post_hook(_forgive)  # type: ignore[no-untyped-call]
        self.train()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the source returns for these arguments."""
        signature = self.record.program.signature
        if signature.flatten is None:
            found = self._run(self, *_in_order(signature, args, kwargs))
            return found[0] if len(found) == 1 else tuple(found)
        found = self._run(self, *map(torch.as_tensor, signature.flatten(args, kwargs)))
        assert signature.unflatten is not None
        return signature.unflatten(list(found))

    def quantizers(self) -> Iterator[tuple[str, Quantizer]]:
        """Grids by name; `scale` and `zero_point` are where they are now."""
        for name, each in self.named_modules():
            if isinstance(each, Quantizer):
                yield name, each

    def freeze_batch_norm(self, frozen: bool = True) -> QatModule:
        """Has running statistics serve in training too, and keeps them; towards the end."""
        for each in self.modules():
            if isinstance(each, LiveBatchNorm | PlainBatchNorm):
                each.frozen = frozen
        return self

    def freeze_quantizers(self, frozen: bool = True) -> QatModule:
        """Keeps steps and offsets as they are; weights go on learning."""
        for _, each in self.quantizers():
            each.freeze(frozen)
        return self

    def get_extra_state(self) -> dict[str, Any]:
        """What is frozen, for the state dict."""
        norms = [m.frozen for m in self.modules() if isinstance(m, LiveBatchNorm | PlainBatchNorm)]
        return {
            "batch_norm_frozen": bool(norms) and all(norms),
            "quantizers_frozen": {name: each.frozen for name, each in self.quantizers()},
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.freeze_batch_norm(bool(state["batch_norm_frozen"]))
        for name, each in self.quantizers():
            each.freeze(bool(state["quantizers_frozen"].get(name, each.frozen)))

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_run"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._run = _function_of(fx.GraphModule(self, _free(self._graph)))

    def __repr__(self) -> str:
        count = sum(1 for _ in self.quantizers())
        return f"<QatModule {self.record.program.provenance.source}: {count} quantizers>"


def _names_of(built: fx.GraphModule) -> Iterator[str]:
    yield from (name for name, _ in built.named_children())
    yield from (name for name, _ in built.named_parameters(recurse=False))
    yield from (name for name, _ in built.named_buffers(recurse=False))


def _function_of(built: fx.GraphModule) -> Callable[..., tuple[Tensor, ...]]:
    """The graph as a function of the module that holds its attributes."""
    found: Callable[..., tuple[Tensor, ...]] = type(built).forward
    return found


def _free(graph: fx.Graph) -> fx.Graph:
    """A copy that no module owns: that would be pickled with it."""
    free: fx.Graph = copy.deepcopy(graph)
    free.owning_module = None
    return free


def _in_order(
    signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[Tensor]:
    """The inputs of a flat model.

    Raises:
        ConfigurationError: Too many, too few, or names that it does not have.
    """
    given = dict(zip(signature.input_names, args, strict=False)) | dict(kwargs)
    names = set(signature.input_names)
    if len(args) + len(kwargs) != len(names) or set(given) != names:
        raise ConfigurationError(
            f"the module takes {', '.join(signature.input_names)}, it was called with "
            f"{len(args)} arguments and {', '.join(kwargs) or 'no names'}",
            fix="call it as the module that it was made of",
        )
    return [torch.as_tensor(given[name]) for name in signature.input_names]


def _forgive(module: nn.Module, keys: Any) -> None:
    """Lets the source's own state dict fit: its grids are then those of the module."""
    assert isinstance(module, QatModule)
    own = module.record.own
    missing = [key for key in keys.missing_keys if key in own]
    foreign = [key for key in keys.missing_keys if key not in own]
    expected = {key for key in module.state_dict() if key not in own}
    if set(foreign) == expected:  # all of them: it is the source's, not a damaged one of ours
        keys.missing_keys[:] = missing
