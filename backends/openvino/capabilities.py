"""What OpenVINO's CPU plugin runs in integers.

Source: runtime precisions that OpenVINO 2026.4 reports for such graphs (docs/tensorrt.md): u8 or s8
activations with s8 weights run as integer Convolution, FullyConnected and MatMul; u8 weights do
not. The placement is the one its low-precision transformations look for: Q/DQ at the operands,
none at the outputs of weighted ops.
"""

from __future__ import annotations

from qcompiler.backends.tensorrt.capabilities import eight_bit
from qcompiler.quantization.qspace import S8_SYMMETRIC_PER_CHANNEL, U8_AFFINE
from qcompiler.target.capability import CapabilityTable, OpCapability

_ALIKE = eight_bit("int8", U8_AFFINE, S8_SYMMETRIC_PER_CHANNEL)


def _stored_weights_only(table: CapabilityTable) -> OpCapability:
    """MatMul without the form for two u8 activations: OpenVINO runs that in float."""
    row = table.row("MatMul")
    assert row is not None
    forms = tuple(form for form in row.implementations if form.weight is not None)
    return OpCapability(row.pattern, forms, row.constraints)


TABLE = _ALIKE.overlay([_stored_weights_only(_ALIKE)], without=("Max", "Where", "Softmax"))
