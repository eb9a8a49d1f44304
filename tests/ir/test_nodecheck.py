"""Legal types of operands, against what onnx itself says where it can."""

from __future__ import annotations

import onnx
import pytest

from qcompiler.ir.nodecheck import legal_types


def test_legal_types_are_those_of_the_schema() -> None:
    compared = 0
    for schema in onnx.defs.get_all_schemas_with_history():
        for formal in (*schema.inputs, *schema.outputs) if not schema.domain else ():
            try:
                wanted = set(formal.types)
            except TypeError:
                pytest.skip(f"onnx {onnx.__version__} cannot tell an operand's types")
            assert legal_types(schema, formal) == wanted, (schema.name, formal.name)
            compared += 1
    assert compared > 1000
