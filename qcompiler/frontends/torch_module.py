"""torch models to a `Program`: capture, PyTorch's own ONNX translation, provenance.

Imported only when torch is loaded already: a torch object implies it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir
import torch
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript import optimizer

from qcompiler.errors import ExportError, QCompilerError
from qcompiler.frontends import torch_marks, torch_packed, torch_rnn
from qcompiler.frontends.cleaning import clean
from qcompiler.frontends.opset import to_working_opset
from qcompiler.frontends.torch_alone import one_at_a_time
from qcompiler.frontends.torch_arguments import example_call, opened
from qcompiler.frontends.torch_attention import without_fused_attention
from qcompiler.frontends.torch_attributes import attributes, changed, left_as_it_was
from qcompiler.frontends.torch_batch import with_batch_axes
from qcompiler.frontends.torch_call import Call, example_of
from qcompiler.frontends.torch_calls import Convention, calling_convention
from qcompiler.frontends.torch_capture import captures, symbolic_ones
from qcompiler.frontends.torch_dropout import as_onnx, with_markers
from qcompiler.frontends.torch_failures import home_of, translation_error
from qcompiler.frontends.torch_lstm import without_projections
from qcompiler.frontends.torch_opaque import (
    put_back,
    register_dataclasses,
    require_dense,
    without_opaque,
)
from qcompiler.frontends.torch_origin import keep_origins
from qcompiler.frontends.torch_own import with_own_forms
from qcompiler.frontends.torch_points import apply_points, float_paths, points_marked
from qcompiler.frontends.torch_precision import Boundary, in_float32, observed, without_autocast
from qcompiler.frontends.torch_promises import check_open
from qcompiler.frontends.torch_quantized import refuse_quantized
from qcompiler.frontends.torch_script import is_script, unscripted
from qcompiler.frontends.torch_sizes import size_rules, unread_rules
from qcompiler.frontends.torch_state import memory_notes, state_notes
from qcompiler.frontends.torch_training import evaluating, training_notes, unwrapped
from qcompiler.frontends.torch_translated import number_dims, own_parameters, separate_outputs
from qcompiler.frontends.torch_types_refused import refuse_bfloat16, refuse_complex
from qcompiler.frontends.torch_unknown import without_unknown_results
from qcompiler.frontends.torch_whole import kept_whole
from qcompiler.ir.naming import make_names_unique
from qcompiler.ir.program import WORKING_OPSET, Program, Provenance
from qcompiler.ir.signature import Signature, signature_of


def accepts(model: object) -> bool:
    """Whether this is a torch model."""
    return isinstance(model, torch.nn.Module | torch.export.ExportedProgram)


@one_at_a_time()
def program_from_torch(
    model: Any, example_inputs: Any, dynamic: Any, surplus: bool = False, others: Sequence[Any] = ()
) -> Program:
    """Captures a module, GraphModule or ExportedProgram and brings it into the IR.

    Parameters are copied once, so training the module afterwards does not change the program; a
    module in training mode is captured from a copy in evaluation mode.

    Raises:
        ExportError: torch could not capture or translate it; names the user's file and line.
        ConfigurationError: Example inputs are missing or do not fit `forward`.
        FeedError: The module itself cannot run them.
    """
    refuse_quantized(model)
    try:
        return _captured(model, example_inputs, dynamic, surplus, others)
    except ExportError as error:
        error.where = error.where or home_of(model)
        raise


def _captured(
    model: Any, example_inputs: Any, dynamic: Any, surplus: bool, others: Sequence[Any]
) -> Program:
    """The program of the first way to capture and translate the model that works."""
    with _quiet(), torch.no_grad(), without_fused_attention():
        if isinstance(model, torch.export.ExportedProgram):
            return _finished(model, example_of(model), _describe(model), [])
        model = unwrapped(model)
        told = training_notes(model)
        return _of_module(evaluating(model), example_inputs, dynamic, surplus, others, told)


def _of_module(
    model: Any,
    example_inputs: Any,
    dynamic: Any,
    surplus: bool,
    others: Sequence[Any],
    told: Sequence[str],
) -> Program:
    """The program of a module in evaluation mode; `told` are notes that belong to it."""
    register_dataclasses(example_inputs)
    described = _describe(model)
    if is_script(model):
        model, call = unscripted(model, example_inputs, surplus)
        run = observed(model, call)
    else:
        with left_as_it_was(model) as before:
            call = example_call(model, example_inputs, surplus)
            run = observed(model, call)
            told = [*told, *memory_notes(call, run.results, changed(before, attributes(model)))]
    require_dense(call)
    model, call, boundary = in_float32(model, call, run)
    call = without_opaque(opened(with_batch_axes(model, call), others))
    told = [*boundary.notes, *told, *([str(call.surplus)] if call.surplus else [])]
    paths = float_paths(model)
    first: ExportError | None = None
    with (
        put_back(model, call.opaque),
        points_marked(model),
        without_unknown_results(model) as left_out,
    ):
        for exported, notes in captures(model, call, dynamic, boundary.capturing):
            try:
                all_notes = [*notes, *told, *left_out]
                program = _finished(exported, call, described, all_notes, boundary, paths)
                return _as_promised(program, exported, call, dynamic)
            except ExportError as error:
                first = first or error
    assert first is not None
    raise first


def _finished(
    exported: torch.export.ExportedProgram,
    call: Call,
    source: str,
    notes: list[str],
    boundary: Boundary = Boundary(),  # noqa: B008 - frozen
    paths: Sequence[str] = (),
) -> Program:
    """Translates a capture.

    Raises:
        ExportError: It holds bfloat16 or something without a translation.
    """
    rules = size_rules(exported)
    convention = calling_convention(exported, call, rules, boundary)
    try:
        with kept_whole():
            plain, autocast = without_autocast(exported)
            refuse_bfloat16(plain)
            refuse_complex(plain)
            plain = with_markers(without_projections(with_own_forms(plain)))
        model, state = _translate(plain)
        program = _program(model, convention, call, source, paths)
    except QCompilerError:
        raise
    except Exception as error:
        raise translation_error(error) from error
    if not program.signature.outputs:
        raise ExportError(
            f"{source} returns no tensor",
            why="what forward returns is what is compiled",
            fix="return tensors, alone or nested in tuples, lists and dicts",
        )
    convention_notes = program.provenance.warnings
    left_out = [] if boundary.types else autocast
    unread = unread_rules(exported)
    told = dict.fromkeys((*notes, *left_out, *unread, *state, *convention_notes))
    kinds = tuple(_KINDS[each] for each in boundary.types if each in _KINDS)
    if autocast:
        kinds = (ir.DataType.BFLOAT16,)
    return replace(
        program, provenance=replace(program.provenance, warnings=tuple(told), computed=kinds)
    )


def _as_promised(
    program: Program, exported: torch.export.ExportedProgram, call: Call, dynamic: Any
) -> Program:
    """The program, with a note on what is fixed though it was to stay open."""
    notes = check_open(exported, call, dynamic, program.signature)
    own = program.provenance
    return replace(program, provenance=replace(own, warnings=(*own.warnings, *notes)))


_KINDS = {torch.bfloat16: ir.DataType.BFLOAT16, torch.float16: ir.DataType.FLOAT16}
"""Types that are coarser than the program's."""


def _describe(model: Any) -> str:
    if isinstance(model, torch.export.ExportedProgram):
        return "torch ExportedProgram"
    return f"torch module {type(model).__name__}"


_OWN = {**torch_marks.TRANSLATIONS, **torch_packed.TRANSLATIONS, **torch_rnn.TRANSLATIONS}
"""Translations of operators that PyTorch's has not."""


def _translate(exported: torch.export.ExportedProgram) -> tuple[ir.Model, list[str]]:
    """PyTorch's ONNX translation, unoptimised (batch norms stay for our passes to fold), notes."""
    with _tensor_outputs(exported), symbolic_ones(), kept_whole():
        made = torch.onnx.export(
            exported,
            dynamo=True,
            opset_version=WORKING_OPSET,
            optimize=False,
            verbose=False,
            custom_translation_table=_OWN,
        )
    assert made is not None
    model: ir.Model = made.model
    return model, state_notes(made.exported_program) if made.exported_program else []


@contextlib.contextmanager
def _tensor_outputs(exported: torch.export.ExportedProgram) -> Iterator[None]:
    """Hides numbers and strings among the outputs, which the calling convention gives back.

    The translation skips None there and stumbles over everything else that is no node (torch 2.13,
    onnx/_internal/exporter/_core.py, _handle_output_node).
    """
    (last,) = exported.graph.find_nodes(op="output")
    given = last.args
    (results,) = given
    last.args = (tuple(each if isinstance(each, torch.fx.Node) else None for each in results),)
    try:
        yield
    finally:
        last.args = given


def _program(
    model: ir.Model, convention: Convention, call: Call, source: str, paths: Sequence[str]
) -> Program:
    producer = f"torch {torch.__version__}"
    make_names_unique(model)  # a buffer may be named like an argument, or like an operator
    own_parameters(model)
    keep_origins(model)
    number_dims(model)
    separate_outputs(model)
    optimizer.fold_constants(model)
    as_onnx(model)
    apply_points(model, paths)
    RemoveUnusedNodesPass()(model)
    clean(model)
    draft = Program(model, Signature((), ()), Provenance(source))
    to_working_opset(draft)
    signature = replace(convention.on(signature_of(model)), surplus=call.surplus)
    notes = []
    if convention.unstorable is not None:
        notes = [f"saved files do not keep how the module is called: {convention.unstorable}"]
    return Program(model, signature, Provenance(source, producer, None, tuple(notes)))


@contextlib.contextmanager
def _printing_nothing() -> Iterator[None]:
    sink = io.StringIO()
    with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what the exporter prints, logs and warns off the console.

    Logging is switched off as a whole: torch logs from dozens of loggers with levels of their own.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), _printing_nothing():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
