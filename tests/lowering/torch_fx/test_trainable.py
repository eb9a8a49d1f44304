"""The trainable module against ONNX Runtime, finite differences and the placed program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.decisions.forms import region_options
from qcompiler.decisions.placement import Placement
from qcompiler.decisions.resolve import resolve
from qcompiler.errors import LoweringError
from qcompiler.frontends.onnx_file import program_from_proto
from qcompiler.ir.plan import Choice, Plan
from qcompiler.ir.program import Program, Property
from qcompiler.ir.text import from_text
from qcompiler.lowering.torch_fx.trainable import lower_trainable
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.quantization.observers import MinMax

Values = dict[str, np.ndarray[Any, Any]]
NET = """g (float[2,3,6,6] x) => (float[2,5] y, float[2,4,3,3] z)
<float[4,3,3,3] conv__weight, float[4] conv__bias, float[4] bn__weight, float[4] bn__bias,
 float[4] bn__mean, float[4] bn__var, float[4,4,1,1] skip__0__weight, float[72,5] linear__weight,
 float[5] linear__bias, float[5] norm__weight, float[5] norm__bias, int64[2] shape = {2, 72}>
{ [c] c0 = Conv<pads=[1,1,1,1]>(x, conv__weight, conv__bias)
  [b] b0 = BatchNormalization(c0, bn__weight, bn__bias, bn__mean, bn__var)
  [r] r0 = Relu(b0)
  [p] p0 = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r0)
  [s] s0 = Conv(p0, skip__0__weight)
  [a] z = Add(s0, p0)
  [k] k0 = Concat<axis=1>(z, p0)
  [f] f0 = Reshape(k0, shape)
  [l] l0 = Gemm(f0, linear__weight, linear__bias)
  [n] n0 = LayerNormalization(l0, norm__weight, norm__bias)
  [t] y = LeakyRelu(n0) }"""
TINY = """g (float[2,2,3,3] x) => (float[2,3] y)
<float[2,2,2,2] w, float[2] b, float[2] slope, float[8,3] v, float[3] g, float[3] h>
{ [one] c = Conv(x, w, b) [two] s = Sigmoid(c) [three] f = Flatten(s)
  [four] m = MatMul(f, v) [five] y = LayerNormalization(m, g, h) }"""


def _filled(text: str, rng: np.random.Generator) -> Program:
    """The program with random numbers in its float initializers, and dots in their names."""
    program = from_text(text)
    for name, value in list(program.graph.initializers.items()):
        value.name = name.replace("__", ".")
        if value.dtype is ir.DataType.FLOAT:
            shape = value.shape.numpy() if value.shape is not None else ()
            drawn = (
                rng.uniform(0.5, 1.5, shape) if name.endswith("var") else rng.normal(0, 0.4, shape)
            )
            value.const_value = ir.tensor(drawn.astype(np.float32), name=name)
    return program


def _session(program: Program) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    proto = ir.to_proto(program.model)
    return ort.InferenceSession(proto.SerializeToString(), options)


def _same(program: Program, feed: Values) -> None:
    expected: list[Any] = list(_session(program).run(None, feed))
    module = lower_trainable(program)
    got = module(*(torch.from_numpy(feed[name]) for name in program.signature.input_names))
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.requires_grad
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=2e-5, atol=2e-5)


def test_float_outputs_of_a_small_network_are_onnxruntimes(rng: np.random.Generator) -> None:
    _same(_filled(NET, rng), {"x": rng.normal(size=(2, 3, 6, 6)).astype(np.float32)})


def test_float_outputs_of_digits_are_onnxruntimes(
    digits_onnx: onnx.ModelProto, digits_feeds: list[Values]
) -> None:
    _same(program_from_proto(digits_onnx), digits_feeds[0])


def test_parameters_have_the_programs_names_and_values(rng: np.random.Generator) -> None:
    program = _filled(NET, rng)
    module = lower_trainable(program)
    found = dict(module.named_parameters())
    stored = program.graph.initializers
    assert set(found) == set(stored) - {"bn.mean", "bn.var", "shape"}
    for name, parameter in found.items():
        held = stored[name].const_value
        assert held is not None
        np.testing.assert_array_equal(parameter.detach().numpy(), held.numpy())


def test_gradients_are_finite_differences(rng: np.random.Generator) -> None:
    module = lower_trainable(_filled(TINY, rng)).double()
    x = torch.from_numpy(rng.normal(size=(2, 2, 3, 3)))
    names, values = zip(*module.named_parameters(), strict=True)
    assert set(names) == {"w", "b", "v", "g", "h"}  # `slope` is read by nothing

    def outputs(*given: torch.Tensor) -> Any:
        return torch.func.functional_call(module, dict(zip(names, given, strict=True)), (x,))

    assert torch.autograd.gradcheck(outputs, values)


def test_a_parameter_of_two_bodies_is_one(rng: np.random.Generator) -> None:
    text = """g (bool c, float[2] x) => (float[2] y) <float[2] w = {2.0, 3.0}>
    { y = If (c) <then_branch = t () => (float[2] p) { p = Mul(x, w) },
                  else_branch = e () => (float[2] q) { q = Add(x, w) }> }"""
    module = lower_trainable(from_text(text))
    (parameter,) = module.parameters()
    x = torch.tensor([5.0, 7.0])
    (product,) = module(torch.tensor(True), x)
    product.sum().backward()
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [5.0, 7.0]


@pytest.fixture
def quantized(rng: np.random.Generator) -> Callable[..., tuple[Program, Placement, Program]]:
    """(program, feeds, forms): float program, placement, and the placed program."""

    def build(program: Program, feeds: list[Values]) -> tuple[Program, Placement, Program]:
        Pipeline.parse("canonicalize,fuse-conv-bn,dead-code").run(
            program, PassContext(OnnxRuntime(1))
        )
        _observe(program, feeds)
        target = OnnxRuntime(1)
        options = region_options(program, target, target.regions(program))
        choices = {
            each.region.key: Choice("int8" if each.named("int8") else "float32") for each in options
        }
        placement = resolve(program.observations, options, Plan("onnxruntime", choices))
        placed = program.clone()
        placed.placement = placement
        placed.properties |= {Property.PRECISION_ASSIGNED, Property.RESOLVED}
        passes = "insert-qdq,fold-qdq,quantize-weights,quantize-bias,dead-code"
        Pipeline.parse(passes).run(placed, PassContext(target))
        return program, placement, placed

    return build


def _observe(program: Program, feeds: list[Values]) -> None:
    """Ranges of every float value, read from ONNX Runtime."""
    proto = ir.to_proto(program.model)
    names = [out for node in proto.graph.node for out in node.output]
    proto.graph.ClearField("output")
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    typed = onnx.shape_inference.infer_shapes(proto)
    session = ort.InferenceSession(typed.SerializeToString())
    for feed in feeds:
        results = {**feed, **dict(zip(names, session.run(None, feed), strict=True))}
        for name, found in results.items():
            if np.asarray(found).dtype == np.float32:
                seen = program.observations.get(name, MinMax.empty())
                program.observations[name] = seen.update(np.asarray(found))


def _compare_quantized(
    program: Program, placement: Placement, placed: Program, feed: Values
) -> torch.nn.Module:
    """At most one step apart per output, and on almost all elements none.

    Kernels round ties and requantize in their own ways: a step of an inner value may become one of
    an output.
    """
    expected: list[Any] = list(_session(placed).run(None, feed))
    module = lower_trainable(program, placement)
    got = module(*(torch.from_numpy(feed[name]) for name in program.signature.input_names))
    for ours, theirs, value in zip(got, expected, program.graph.outputs, strict=True):
        assert ours.requires_grad
        step = float(placement.params(value.name or "").scale)
        steps = np.abs(ours.detach().numpy() - theirs) / step
        assert steps.max() < 1.5
        assert np.mean(steps > 0.5) < 0.01
    return module


def test_fake_quantized_outputs_are_the_placed_programs(
    quantized: Any, rng: np.random.Generator
) -> None:
    feeds = [{"x": rng.normal(size=(2, 3, 6, 6)).astype(np.float32)} for _ in range(4)]
    program, placement, placed = quantized(_filled(NET, rng), feeds)
    assert len(placement.regions) > 5
    module = _compare_quantized(program, placement, placed, feeds[0])
    sum(each.square().sum() for each in module(torch.from_numpy(feeds[0]["x"]))).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name


def test_fake_quantized_digits_are_the_placed_program(
    quantized: Any, digits_onnx: onnx.ModelProto, digits_feeds: list[Values]
) -> None:
    program, placement, placed = quantized(program_from_proto(digits_onnx), digits_feeds[:2])
    _compare_quantized(program, placement, placed, digits_feeds[0])


def test_the_comparison_sees_a_wrong_scale(quantized: Any, rng: np.random.Generator) -> None:
    feeds = [{"x": rng.normal(size=(2, 3, 6, 6)).astype(np.float32)}]
    program, placement, placed = quantized(_filled(NET, rng), feeds)
    module = lower_trainable(program, placement)
    grids = [each for name, each in module.named_buffers() if name.endswith("scale")]
    assert len(grids) > 5
    with torch.no_grad():
        for each in grids:
            each.mul_(1.5)
    y, _ = module(torch.from_numpy(feeds[0]["x"]))
    expected = _session(placed).run(None, feeds[0])
    step = float(placement.params("y").scale)
    assert float(np.abs(y.detach().numpy() - np.asarray(expected[0])).max()) / step > 1.5


def test_a_region_of_another_program_is_an_error(quantized: Any, rng: np.random.Generator) -> None:
    feeds = [{"x": rng.normal(size=(2, 3, 6, 6)).astype(np.float32)}]
    _, placement, _ = quantized(_filled(NET, rng), feeds)
    with pytest.raises(LoweringError, match="is not in this program"):
        lower_trainable(_filled(TINY, rng), placement)
