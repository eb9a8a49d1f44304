"""torch import: values, names of modules, source lines, nested calls, failures that say where."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402 - only where torch is

from qcompiler.errors import ConfigurationError, ExportError, FeedError  # noqa: E402
from qcompiler.frontends import load  # noqa: E402
from qcompiler.ir.origin import module_path, source_line  # noqa: E402
from qcompiler.ir.program import WORKING_OPSET, Program  # noqa: E402
from qcompiler.ir.signature import as_array  # noqa: E402
from qcompiler.ir.verifier import require_valid  # noqa: E402


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Any:
        return torch.relu(self.norm(self.conv(x)))  # the line that test_source_lines looks for


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Block()])
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(self.layers[0](x).mean((2, 3)))
        return y


class Nested(nn.Module):
    def forward(
        self, pair: tuple[Tensor, Tensor], *, scale: Tensor, shift: dict[str, Tensor], mode: str
    ) -> dict[str, Any]:
        total = pair[0] * scale + pair[1] - shift["by"]
        return {"sum": total, "parts": [pair[0] + 1, (total * 2, None)], "again": total}


class Conditional(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:  # the line that T16 looks for
            return x
        return -x


def _line(owner: type, text: str) -> str:
    """`file:line` of a line of this file."""
    lines, first = inspect.getsourcelines(owner)
    offset = next(i for i, line in enumerate(lines) if text in line)
    return f"{__file__}:{first + offset}"


def _call(program: Program, run: Any, *args: Any, **kwargs: Any) -> Any:
    flatten, unflatten = program.signature.flatten, program.signature.unflatten
    assert flatten is not None
    assert unflatten is not None
    leaves = zip(program.signature.inputs, flatten(args, kwargs), strict=True)
    feed = {spec.name: as_array(leaf, spec) for spec, leaf in leaves}
    return unflatten(run(program, feed))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    module = Net()
    module(torch.randn(8, 3, 8, 8))  # gives the batch norm statistics of its own
    return module.eval()


@pytest.fixture(scope="module")
def program(net: nn.Module) -> Program:
    return load(net, torch.randn(1, 3, 8, 8))


def _close(found: Any, wanted: Tensor) -> None:
    """float32 against float32: 1e-5 covers the other order of at most 27 + 36 additions."""
    np.testing.assert_allclose(found, wanted.detach().numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3, 17])
def test_the_batch_stays_symbolic(program: Program, net: nn.Module, run: Any, batch: int) -> None:
    require_valid(program)
    assert program.model.opset_imports[""] == WORKING_OPSET
    shape = program.signature.inputs[0].shape
    assert shape is not None
    assert isinstance(shape[0], str)
    x = torch.randn(batch, 3, 8, 8)
    _close(_call(program, run, x), net(x))


def test_a_batch_of_one_stays_symbolic_behind_layer_norm(run: Any) -> None:
    """torch alone says [1, 4] there, which engines warn about and passes would believe."""
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)).eval()
    found = load(module, torch.randn(1, 3))
    shape = found.signature.outputs[0].shape
    assert shape is not None
    assert isinstance(shape[0], str)
    x = torch.randn(5, 3)
    _close(_call(found, run, x), module(x))


class FixedRows(nn.Module):
    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(self.rows, 4) * 2


@pytest.mark.parametrize("rows", [1, 3])
def test_a_dimension_that_must_be_fixed_is(run: Any, rows: int) -> None:
    found = load(FixedRows(rows), torch.randn(rows, 4))
    assert found.signature.inputs[0].shape == (rows, 4)
    assert "fixed" in found.provenance.warnings[0]
    x = torch.randn(rows, 4)
    _close(_call(found, run, x), 2 * x)


def test_torch_fx_is_the_fallback(
    net: nn.Module, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = torch.export.export

    def only_graphs(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(module, torch.fx.GraphModule):
            raise RuntimeError("cannot")  # noqa: TRY004 - what torch would raise
        return export(module, *args, **kwargs)

    monkeypatch.setattr(torch.export, "export", only_graphs)
    x = torch.randn(2, 3, 8, 8)
    found = load(net, x)
    assert "torch.fx" in found.provenance.warnings[0]
    _close(_call(found, run, x), net(x))


def test_batch_norms_stay_for_our_passes(program: Program) -> None:
    assert [node.op_type for node in program.graph][:2] == ["Conv", "BatchNormalization"]


def test_module_paths(program: Program) -> None:
    paths = {node.op_type: module_path(node) for node in program.graph}
    assert paths["Conv"] == "layers.0.conv"
    assert paths["BatchNormalization"] == "layers.0.norm"
    assert paths["Gemm"] == "fc"
    assert paths["ReduceMean"] is None


def test_source_lines(program: Program) -> None:
    lines = {node.op_type: source_line(node) for node in program.graph}
    assert lines["Relu"] == _line(Block, "the line that test_source_lines")
    assert lines["Gemm"] == _line(Net, "self.fc(self")


def test_the_exporters_metadata_is_dropped(program: Program) -> None:
    keys = {key for node in program.graph for key in node.metadata_props}
    assert keys <= {"qcompiler.module", "qcompiler.source"}


def test_fixed_shapes_on_request(net: nn.Module) -> None:
    fixed = load(net, torch.randn(2, 3, 8, 8), dynamic=False)
    assert fixed.signature.inputs[0].shape == (2, 3, 8, 8)


def test_own_dynamic_shapes(net: nn.Module, run: Any) -> None:
    dims = {"x": {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}}
    found = load(net, torch.randn(2, 3, 8, 8), dynamic=dims)
    x = torch.randn(2, 3, 11, 7)
    _close(_call(found, run, x), net(x))


def test_training_mode_and_parameters_stay(run: Any) -> None:
    module = Net()
    assert module.training
    before = {name: value.clone() for name, value in module.state_dict().items()}
    x = torch.randn(2, 3, 8, 8)
    found = load(module, x)
    assert module.training
    assert all(part.training for part in module.modules())
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    module.eval()
    wanted = module(x)
    _close(_call(found, run, x), wanted)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    _close(_call(found, run, x), wanted)  # training later does not reach the program
    assert not torch.allclose(module(x), wanted)


def _nested_arguments(batch: int) -> tuple[tuple[Tensor, Tensor], dict[str, Any]]:
    pair = (torch.randn(batch, 4), torch.randn(batch, 4))
    named = {"scale": torch.randn(batch, 4), "shift": {"by": torch.randn(batch, 4)}, "mode": "m"}
    return pair, named


def test_nested_calls(run: Any) -> None:
    pair, named = _nested_arguments(2)
    found = load(Nested(), (pair, named))
    pair, named = _nested_arguments(5)
    wanted = Nested()(pair, **named)
    reordered = dict(reversed(named.items()))
    result = _call(found, run, pair, **reordered)
    assert set(result) == set(wanted)
    _close(result["sum"], wanted["sum"])
    _close(result["again"], wanted["again"])
    _close(result["parts"][0], wanted["parts"][0])
    _close(result["parts"][1][0], wanted["parts"][1][0])
    assert result["parts"][1][1] is None


def test_keywords_of_positional_arguments(program: Program, net: nn.Module, run: Any) -> None:
    x = torch.randn(2, 3, 8, 8)
    _close(_call(program, run, x=x), net(x))


def test_wrong_nesting_is_told(run: Any) -> None:
    pair, named = _nested_arguments(2)
    found = load(Nested(), (pair, named))
    with pytest.raises(FeedError, match="nested"):
        _call(found, run, (*pair, pair[0]), **named)


def test_exported_program_and_graph_module(net: nn.Module, run: Any) -> None:
    x = torch.randn(2, 3, 8, 8)
    for source in (torch.export.export(net, (x,)), torch.fx.symbolic_trace(net)):
        _close(_call(load(source, x), run, x), net(x))


def test_t16_a_data_dependent_if_names_the_line_and_the_way_out(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ExportError) as caught:
        load(Conditional(), torch.ones(2, 3))
    error = caught.value
    assert error.where == _line(Conditional, "the line that T16")
    assert "ONNX" in str(error)
    assert "torch.cond" in str(error)
    assert capfd.readouterr() == ("", "")


def test_example_inputs_are_needed_and_checked(net: nn.Module) -> None:
    with pytest.raises(ConfigurationError, match="example inputs"):
        load(net)
    with pytest.raises(ConfigurationError, match=r"do not fit Net\.forward"):
        load(net, (torch.randn(1, 3, 8, 8), torch.randn(1)))


def test_arrays_will_do_as_examples(net: nn.Module) -> None:
    assert len(load(net, np.zeros((1, 3, 8, 8), np.float32)).graph) > 0


def test_importing_the_front_ends_does_not_import_torch() -> None:
    code = "import sys, qcompiler.frontends; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Scaled(nn.Module):
    """A batch beside a parameter of one row."""

    def forward(self, image: Tensor, *, scale: Tensor) -> Any:
        return torch.relu(image * scale)


def test_a_parameter_of_one_row_is_no_batch(run: Any) -> None:
    module, example = Scaled(), {"image": torch.randn(2, 3, 4, 4), "scale": torch.rand(1)}
    program = load(module, example)
    assert [spec.shape[0] for spec in program.signature.inputs if spec.shape][1] == 1
    image, scale = torch.randn(5, 3, 4, 4), torch.rand(1)
    (found,) = run(program, {"image": image.numpy(), "scale": scale.numpy()})
    assert np.array_equal(found, module(image, scale=scale).numpy())


class AddsRows(nn.Module):
    """Fixes the batch: it adds a constant of two rows."""

    def forward(self, x: Tensor) -> Any:
        return x.reshape(2, 6) + torch.ones(2, 6)


def test_a_failed_attempt_leaves_no_marks_behind() -> None:
    example = torch.randn(2, 3, 2)
    before = set(vars(example))
    program = load(AddsRows(), (example,))
    assert program.signature.inputs[0].shape == (2, 3, 2)
    assert set(vars(example)) == before


class Annotated(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"y": x * 2, "n": 7, "kind": ("name", 1.5, None, True), "columns": x.shape[1]}


def test_numbers_and_strings_among_the_results_come_back(run: Any) -> None:
    x = torch.randn(3, 5)
    exported = torch.export.export(Annotated(), (x,), strict=False)
    before = exported.graph.find_nodes(op="output")[0].args
    for source in (Annotated(), exported):
        program = load(source, (x,))
        assert len(program.signature.outputs) == 1
        found = _call(program, run, x)
        _close(found.pop("y"), x * 2)
        assert found == {"n": 7, "kind": ("name", 1.5, None, True), "columns": 5}
    assert exported.graph.find_nodes(op="output")[0].args == before


class SameNames(nn.Module):
    """A buffer named like an argument, others like the exporter's names of nodes and results."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("x", torch.arange(8.0))
        self.register_buffer("mul", torch.rand(4))
        self.register_buffer("output", torch.rand(4))
        self.linear = nn.Parameter(torch.randn(8))
        self.layer = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden = x * self.get_buffer("x") + self.linear
        result: Tensor = self.layer(hidden) * self.get_buffer("mul")
        return result + self.get_buffer("output")


def test_buffers_named_like_arguments(run: Any) -> None:
    module = SameNames().eval()
    program = load(module, torch.randn(3, 8))
    other = torch.randn(5, 8)
    _close(_call(program, run, other), module(other))
