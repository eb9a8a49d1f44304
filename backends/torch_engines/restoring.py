"""From a saved file to a target, a program and an artifact that runs."""

from __future__ import annotations

from pathlib import Path

from qcompiler.backends.torch_engines import store
from qcompiler.backends.torch_engines.engine import TorchEngine
from qcompiler.errors import ArtifactError
from qcompiler.frontends.torch_calls import Convention
from qcompiler.ir.program import Program, Property, Provenance
from qcompiler.ir.signature import signature_of
from qcompiler.pipeline.registry import find_target
from qcompiler.target.contract import Restored


def restore(path: Path) -> Restored:
    """Reads a file that `TorchArtifact.save` wrote.

    Raises:
        ArtifactError: Not such a file, damaged, or made for a CPU that this one is not.
    """
    stored = store.load(path)
    kind = find_target(stored.setting.engine)
    if not issubclass(kind, TorchEngine):
        raise ArtifactError(
            f"{path} is for '{kind.name}', which is no torch engine here",
            fix="load it with a qcompiler that has that target",
        )
    target = kind(cpu="vnni" if stored.setting.vnni else "portable", threads=stored.threads)
    signature = signature_of(stored.model)
    notes: tuple[str, ...] = ()
    if stored.convention is not None:
        nested = Convention.parse(stored.convention)
        signature, notes = nested.on(signature), nested.notes
    program = Program(
        stored.model, signature,
        stored.making.on(Provenance(stored.source, warnings=notes)), plan=stored.plan,
        properties=frozenset({Property.QDQ_EXPLICIT}),
    )  # fmt: skip
    return Restored(target, program, target.lower(program))
