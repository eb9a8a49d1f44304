"""Where ONNX Runtime's kernels end: legal just inside, illegal just outside."""

from __future__ import annotations

import pytest

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.ir.text import from_text

LEGAL = [
    ("float[4,2] x", "Softmax(x)", ""),
    ("float[1,4] x", "Softmax<axis = 1>(x)", ""),
    ("float[2,3,9,9] x", "AveragePool<kernel_shape = [2,2]>(x)", ""),
    ("float[N,4] x, float[N,4] z", "Add(x, z)", ""),
    ("float[N,4,8,8] x, float[N,4,1,1] z", "Mul(x, z)", ""),
    ("float[4] x, float[4] z", "Add(x, z)", ""),
    ("float[2,1] x, float[2,5] z", "Add(x, z)", ""),
    ("float[N,5] x, float[1,1] z", "Mul(x, z)", ""),
    ("float[N,4] x", "MatMul(x, w)", "float[4,4] w"),
]
ILLEGAL = [
    ("float[4,1] x", "Softmax(x)", "", "ORT13"),
    ("float[1,4] x", "Softmax<axis = 0>(x)", "", "ORT13"),
    ("float[N,4] x", "Softmax(x)", "", "ORT13"),
    ("float[4,N] x", "Softmax(x)", "", "ORT13"),
    ("float[2,3,9,9] x", "AveragePool<kernel_shape = [2,2], dilations = [2,2]>(x)", "", "ORT11"),
    ("float[N] x, float[N] z", "Add(x, z)", "", "ORT14"),
    ("float[N,5] x, float[N,1] z", "Mul(x, z)", "", "ORT14"),
    ("float[N,1] x, float[N,1] z", "Add(x, z)", "", "ORT14"),
    ("float[N,0] x", "MatMul(x, w)", "float[0,4] w", "Q02"),
    ("float[N,4] x", "MatMul(x, w)", "float[4,0] w", "Q02"),
]


def _found(inputs: str, call: str, weights: str, outputs: str = "float[] y") -> set[str]:
    constants = f"<{weights}>" if weights else ""
    names = ", ".join(each.split()[-1] for each in outputs.split(","))
    program = from_text(f"g ({inputs}) => ({outputs}) {constants} {{ [it] {names} = {call} }}")
    (region,) = OnnxRuntime(1).regions(program)
    found = {each.rule for each in OnnxRuntime(1).objections(region)}
    assert bool(found) != bool(OnnxRuntime(1).implementations(region))
    return found


@pytest.mark.parametrize(("inputs", "call", "weights"), LEGAL)
def test_inside(inputs: str, call: str, weights: str) -> None:
    assert _found(inputs, call, weights) == set()


@pytest.mark.parametrize(("inputs", "call", "weights", "code"), ILLEGAL)
def test_outside(inputs: str, call: str, weights: str, code: str) -> None:
    assert code in _found(inputs, call, weights)


def test_a_second_output_has_no_kernel_on_integers() -> None:
    call = "MaxPool<kernel_shape = [2,2]>(x)"
    image = "float[2,3,8,8] x"
    assert _found(image, call, "") == set()
    assert _found(image, call, "", "float[] y, int64[] i") == {"ORT12"}
