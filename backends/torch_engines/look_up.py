"""Look-ups in tables of 8-bit or 4-bit rows, by `embedding_bag_*_rowwise_offsets`.

Only the rows that are asked for are dequantized. Every bag holds one row.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import onnx_ir as ir
import torch
from torch import Tensor, fx

from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.kernels.island import Writer
from qcompiler.backends.torch_engines.tables import Rows, stored_rows


def emitter(gather: ir.Node) -> Callable[[Writer], fx.Node] | None:
    """What writes the call for a Gather, None if it is no look-up in a stored table."""
    rows = stored_rows(gather)
    return None if rows is None else partial(_emit, rows, gather)


def _emit(rows: Rows, gather: ir.Node, writer: Writer) -> fx.Node:
    indices = gather.inputs[1]
    assert indices is not None
    packed = adapter.pack_table(rows.values, rows.scale, rows.zero_point, rows.bits)
    held = writer.attribute("table", packed)
    look_up = look_up_bytes if rows.bits == 8 else look_up_nibbles
    return writer.call(look_up, held, writer.real(indices), width=rows.values.shape[1])


def look_up_bytes(table: Tensor, indices: Tensor, *, width: int) -> Tensor:
    """Rows of an 8-bit table, float32 [*indices, width]; negative indices count from the end."""
    return _rows(adapter.look_up_op(8), table, indices, width)


def look_up_nibbles(table: Tensor, indices: Tensor, *, width: int) -> Tensor:
    """Rows of a 4-bit table; the kernel gives an even number of columns."""
    return _rows(adapter.look_up_op(4), table, indices, width)


def _rows(kernel: Callable[..., Tensor], table: Tensor, indices: Tensor, width: int) -> Tensor:
    index = indices.to(torch.int64).reshape(-1, 1)
    found = kernel(table, torch.where(index < 0, index + table.shape[0], index))
    exact = found if width % 2 == 0 else found[:, :width]
    return exact.reshape([*indices.shape, width])
