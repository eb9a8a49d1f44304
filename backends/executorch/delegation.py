"""From a placed program to `.pte` bytes."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS
from executorch.backends.xnnpack.partition.config.generic_node_configs import UnsqueezeCopyConfig
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
from executorch.exir.dialects._ops import ops as exir_ops
from executorch.exir.passes.sym_shape_eval_pass import ConstraintBasedSymShapeEvalPass
from torch import fx
from torch.fx.passes.infra.pass_base import PassResult

from qcompiler.backends.executorch.graph import edge_module
from qcompiler.backends.executorch.layers import Layer
from qcompiler.backends.executorch.partitioned import layers_of
from qcompiler.backends.executorch.record import METHOD
from qcompiler.backends.executorch.runtime import quietly
from qcompiler.errors import LoweringError, first_line
from qcompiler.frontends.torch_alone import one_at_a_time
from qcompiler.lowering.torch_fx.element_types import torch_dtype

_RESHAPES = ("aten.view_copy", "aten.unsqueeze_copy")
_PARTITIONED = [each for each in ALL_PARTITIONER_CONFIGS if each is not UnsqueezeCopyConfig]
"""The partitioner takes an Unsqueeze with two open dimensions, which XNNPACK then refuses."""


@dataclass(frozen=True)
class Limits:
    """Largest sizes of open dimensions: of axis 0, and of the others."""

    batch: int
    length: int


@dataclass(frozen=True)
class Lowering:
    """An exported program, partitioned but not yet written.

    Attributes:
        edge: ExecuTorch's edge program manager.
        layers: What computes in it, in order.
    """

    edge: Any
    layers: tuple[Layer, ...]

    def written(self, record: Mapping[str, Any]) -> bytes:
        """The `.pte`, with a record that `load_compiled` reads.

        Raises:
            LoweringError: ExecuTorch cannot plan its memory.
        """
        text = torch.tensor(list(json.dumps(record, sort_keys=True).encode()), dtype=torch.uint8)
        config = ExecutorchBackendConfig(sym_shape_eval_pass=ConstraintBasedSymShapeEvalPass())
        with one_at_a_time(), _explained(), _quick():
            self.edge._config_methods = {METHOD: text}
            return bytes(self.edge.to_executorch(config).buffer)


def delegate(model: ir.Model, limits: Limits | None) -> Lowering:
    """Exports and partitions.

    Args:
        model: A placed graph.
        limits: For open dimensions; None if every dimension of every input is a number.

    Raises:
        LoweringError: torch.export or ExecuTorch refuse it.
    """
    module = edge_module(model)
    examples, dims = _examples(model.graph.inputs, limits)
    with one_at_a_time(), _explained(), _quick():
        exported = torch.export.export(module, examples, dynamic_shapes=dims)
        edge = to_edge_transform_and_lower(
            exported,
            transform_passes=[_inferred_shapes],
            partitioner=[XnnpackPartitioner(_PARTITIONED)],
        )
        return Lowering(edge, layers_of(edge.exported_program().graph_module))


def _examples(
    inputs: Sequence[ir.Value], limits: Limits | None
) -> tuple[tuple[torch.Tensor, ...], Any]:
    """Zeros of the inputs' largest shapes, and torch.export's description of open dimensions.

    Only the largest size is a safe example: torch specializes comparisons by it (`batch < 16` in
    its choice of a convolution), which would bound the program below the limit.
    """
    open_dims: dict[str, int] = {}
    shapes: list[list[int | str]] = []
    for place, value in enumerate(inputs):
        shape: list[int | str] = []
        for axis, size in enumerate(value.shape or ()):
            if isinstance(size, int):
                shape.append(size)
                continue
            if limits is None:
                raise LoweringError(
                    f"the input '{value.name}' has an open dimension {axis}",
                    fix="compile with feeds of one size, or dynamic={}",
                )
            name = f"d{place}_{axis}" if size.value is None else f"d_{size.value}"
            limit = limits.length if axis else limits.batch
            open_dims[name] = max(limit, open_dims.get(name, 0))
            shape.append(name)
        shapes.append(shape)
    names = {name: f"dim{i}" for i, name in enumerate(open_dims)}
    known = {n: torch.export.Dim(names[n], min=1, max=m) for n, m in open_dims.items() if m > 1}
    examples = [
        torch.zeros(
            [size if isinstance(size, int) else open_dims[size] for size in shape],
            dtype=torch_dtype((value.dtype or ir.DataType.FLOAT).value),
        )
        for value, shape in zip(inputs, shapes, strict=True)
    ]
    dims = [{axis: known[n] for axis, n in enumerate(s) if n in known} for s in shapes]
    return tuple(examples), tuple(dims) if known else None


def _inferred_shapes(module: fx.GraphModule) -> PassResult:
    """Reshapes with one open dimension say -1 there: XNNPACK takes no symbols."""
    changed = False
    for node in module.graph.nodes:
        name = str(getattr(node.target, "__name__", node.target))
        if node.op != "call_function" or not name.startswith(_RESHAPES):
            continue
        shape = list(node.meta["val"].shape)
        open_dims = sum(not isinstance(size, int) for size in shape)
        if open_dims == 1 or (open_dims == 0 and "unsqueeze" in name):
            wanted = [size if isinstance(size, int) else -1 for size in shape]
            node.target, node.args = exir_ops.edge.aten.view_copy.default, (node.args[0], wanted)
            changed = True
    if changed:
        module.graph.eliminate_dead_code()
        module.recompile()
    return PassResult(module, changed)


@contextmanager
def _quick() -> Iterator[None]:
    """No garbage collection: lowering makes millions of objects that stay, a third of its time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def _explained() -> Iterator[None]:
    """Errors of torch and ExecuTorch as LoweringError."""
    try:
        with quietly():
            yield
    except LoweringError:
        raise
    except Exception as error:
        raise LoweringError(
            "ExecuTorch does not lower this program",
            why=first_line(error),
            fix="give the inputs fixed shapes, or choose the target onnxruntime",
        ) from error
