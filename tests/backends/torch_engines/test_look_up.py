"""Look-ups in 8-bit and 4-bit tables, compared with numpy on random tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import qcompiler as qc
from qcompiler.artifacts import load_compiled
from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.artifact import TorchArtifact
from qcompiler.backends.torch_engines.exported import ExportableProgram
from qcompiler.backends.torch_engines.kernels.island import Setting
from qcompiler.backends.torch_engines.lowering import lower
from qcompiler.backends.torch_engines.standalone import save_torchscript
from qcompiler.backends.torch_engines.tables import HALF_RANGE
from qcompiler.pipeline import registry

ENGINES = adapter.available_engines()
STORED = {8: np.dtype(np.uint8), 4: np.dtype(ml_dtypes.uint4)}
KERNELS = {8: "look_up_bytes", 4: "look_up_nibbles"}
ROUNDING = {8: 2.0**-24, 4: 2.0**-11}
"""Unit roundoff of what the packed rows hold: float32, float16."""


def random_rows(rng: Any, bits: int, shape: tuple[int, int]) -> tuple[Any, Any, Any]:
    values = rng.integers(0, 2**bits, shape)
    scale = rng.uniform(0.01, 2, shape[0]).astype(np.float32)
    return values, scale, rng.integers(0, 2**bits, shape[0])


def table_program(g: Any, bits: int, rows: tuple[Any, Any, Any], ids: str) -> Any:
    values, scale, zero = rows
    parts = [values.astype(STORED[bits]), scale, zero.astype(STORED[bits])]
    table = g.node("DequantizeLinear", *(g.constant(each) for each in parts), axis=0)
    return g.program(g.node("Gather", table, ids))


def expected_rows(rows: tuple[Any, Any, Any], ids: Any, bits: int) -> tuple[Any, Any]:
    """Real rows, and by how much the kernel's q * scale + (-zero * scale) may be off.

    Scale and bias are rounded once each to what the row holds; product and sum in float32.
    """
    values, scale, zero = (each[ids] for each in rows)
    steps = scale[..., None].astype(np.float64)
    real = (values - zero[..., None]) * steps
    return real, (values + zero[..., None]) * steps * (ROUNDING[bits] + 2.0**-23)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("width", [1, 2, 7, 64, 65])
def test_rows_are_those_of_the_integers(
    engine: str, bits: int, width: int, qdq: Any, rng: Any
) -> None:
    rows = random_rows(rng, bits, (19, width))
    g = qdq()
    program = table_program(g, bits, rows, g.input(["a", "b"], 7))
    lowered = lower(program.model, Setting(engine))
    assert lowered.kernels.ops[KERNELS[bits]] == 1
    assert len(lowered.kernels.integer) == 1
    ids = rng.integers(-19, 19, (3, 5))
    with adapter.engine_scope(engine), torch.no_grad():
        got = lowered.module(torch.from_numpy(ids))[0].numpy()
    real, allowed = expected_rows(rows, ids, bits)
    assert got.shape == (3, 5, width)
    assert np.all(np.abs(got - real) <= allowed)
    wrong = (rows[0] ^ 1, *rows[1:])  # one step in every element: the bound must see it
    other, allowed = expected_rows(wrong, ids, bits)
    assert np.all(np.abs(got - other) > allowed)


@pytest.mark.parametrize("bits", [8, 4])
def test_rows_are_packed_as_torch_packs_them(bits: int, rng: Any) -> None:
    """Rows whose largest element is 2**bits - 1 steps above the smallest: torch finds the steps."""
    values, _, _ = random_rows(rng, bits, (6, 8))
    values[:, 0], values[:, 1] = 0, 2**bits - 1
    scale = np.float32(2.0) ** rng.integers(-3, 3, 6).astype(np.float32)
    zero = rng.integers(0, 2**bits, 6)
    real = torch.from_numpy(((values - zero[:, None]) * scale[:, None]).astype(np.float32))
    name = f"embedding_bag_{'byte' if bits == 8 else '4bit'}_prepack"
    theirs = getattr(torch.ops.quantized, name)(real)
    assert torch.equal(adapter.pack_table(values.astype(np.uint8), scale, zero, bits), theirs)


@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 2)])
@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_indices_have_any_rank_and_integer_type(
    shape: tuple[int, ...], dtype: Any, qdq: Any, rng: Any
) -> None:
    rows = random_rows(rng, 8, (19, 4))
    g = qdq()
    kind = 7 if dtype is np.int64 else 6
    program = table_program(g, 8, rows, g.input(list(shape), kind))
    ids = rng.integers(-19, 19, shape).astype(dtype)
    artifact = TorchArtifact(program.model, program.signature, Setting("fbgemm"))
    (got,) = artifact.run({program.signature.input_names[0]: np.asarray(ids)})
    real, allowed = expected_rows(rows, ids, 8)
    assert np.all(np.abs(got - real) <= allowed)


def test_tables_of_other_tools_with_one_int8_scale(qdq: Any, rng: Any) -> None:
    values = rng.integers(-128, 128, (9, 6)).astype(np.int8)
    g = qdq()
    parts = [g.constant(each) for each in (values, np.float32(0.03), np.int8(-5))]
    ids = g.input(["n"], 7)
    program = g.program(g.node("Gather", g.node("DequantizeLinear", *parts), ids))
    lowered = lower(program.model, Setting("onednn"))
    got = lowered.module(torch.arange(9))[0].numpy()
    assert lowered.kernels.ops[KERNELS[8]] == 1
    np.testing.assert_allclose(got, (values + 5.0) * np.float32(0.03), atol=0.03 * 512 * 2.0**-23)


@pytest.mark.parametrize(("axis", "along"), [(1, 0), (0, 1)])
def test_what_is_no_look_up_of_rows_stays_float(axis: int, along: int, qdq: Any, rng: Any) -> None:
    """Columns are taken, or the scales belong to columns: no kernel, equal values."""
    values = rng.integers(0, 256, (5, 5)).astype(np.uint8)
    scale = rng.uniform(0.1, 1, 5).astype(np.float32)
    zero = rng.integers(0, 256, 5).astype(np.uint8)
    g = qdq()
    parts = [g.constant(each) for each in (values, scale, zero)]
    table = g.node("DequantizeLinear", *parts, axis=along)
    program = g.program(g.node("Gather", table, g.input(["n"], 7), axis=axis))
    lowered = lower(program.model, Setting("fbgemm"))
    spread = (slice(None), None) if along == 0 else (None, slice(None))
    real = (values.astype(np.float64) - zero[spread]) * scale[spread]
    got = lowered.module(torch.tensor([4, 1]))[0].numpy()
    assert KERNELS[8] not in lowered.kernels.ops
    np.testing.assert_allclose(got, real.take([4, 1], axis), rtol=1e-6)


class Classifier(torch.nn.Module):
    def __init__(self, spread: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.table = torch.nn.Embedding(3000, 64)
        self.table.weight.data *= spread
        self.head = torch.nn.Sequential(
            torch.nn.Linear(64, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10)
        )

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.table(ids))
        return out


def feeds(count: int) -> list[Any]:
    drawn = np.random.default_rng(5)
    return [{"ids": drawn.integers(0, 3000, (2, 64))} for _ in range(count)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("bits", "least"), [(8, 40.0), (4, 20.0)])
def test_a_scheme_stores_the_table_and_every_saved_form_reads_it(
    engine: str, bits: int, least: float, tmp_path: Path
) -> None:
    """4 bits: 15 steps over a row's range of about 5 deviations, noise (5 / 15)² / 12, 20 dB."""
    model, samples = Classifier().eval(), feeds(2)
    compiled = qc.compile(
        model, target=engine, calibration=samples, scheme=f"int{bits}-weights", progress=False
    )
    ids = samples[0]["ids"]
    assert KERNELS[bits] in compiled.module.code
    assert compiled.kernels.integer == tuple(
        key for key, each in compiled.plan.choices.items() if each.precision != "float32"
    )
    got = compiled(torch.from_numpy(ids))
    wanted = model(torch.from_numpy(ids)).detach()
    noise = float((got - wanted).square().mean() / wanted.square().mean())
    assert -10 * np.log10(noise) > least
    assert compiled.artifact.nbytes < 0.5 * sum(p.nbytes for p in model.parameters())
    again = load_compiled(compiled.save(tmp_path / "model.pt"))
    assert torch.equal(again(torch.from_numpy(ids)), got)
    artifact = compiled.artifact
    assert isinstance(artifact, TorchArtifact)
    save_torchscript(artifact, tmp_path / "script.pt", {"ids": ids})
    with adapter.engine_scope(engine):
        traced = torch.jit.load(tmp_path / "script.pt")  # type: ignore[no-untyped-call]
        assert torch.equal(traced(torch.from_numpy(ids))[0], got)
    exported = torch.export.export(
        ExportableProgram(artifact, {"ids": ids}), (torch.from_numpy(ids),)
    )
    assert torch.equal(exported.module()(torch.from_numpy(ids))[0], got)


@pytest.mark.parametrize(
    ("max_loss", "precision"), [(0.003, "int8-weights"), (0.1, "int4-weights")]
)
def test_the_size_objective_takes_as_few_bits_as_the_loss_allows(
    max_loss: float, precision: str
) -> None:
    compiled = qc.compile(
        Classifier().eval(),
        target="fbgemm",
        calibration=feeds(8),
        objective="size",
        max_loss=max_loss,
        progress=False,
    )
    chosen = {key: each.precision for key, each in compiled.plan.choices.items()}
    assert chosen["node_embedding"] == precision


def test_4_bit_tables_beyond_half_precision_are_not_offered(tmp_path: Path) -> None:
    target = registry.find_target("fbgemm")()
    for spread, offered in ((1.0, True), (HALF_RANGE[0] / 100, False), (HALF_RANGE[1], False)):
        program = qc.load(Classifier(spread).eval(), (torch.zeros(2, 64, dtype=torch.int64),))
        (region,) = [each for each in target.regions(program) if each.kind == "Gather"]
        forms = {each.precision for each in target.implementations(region)}
        assert forms == {"int8-weights"} | ({"int4-weights"} if offered else set())
