"""Feeds where there is no data: to time a model, to see its sizes, to compare two programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.errors import FeedError
from qcompiler.execution.session import OrtSession
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed, Signature, TensorSpec


def made_up(
    signature: Signature,
    open_size: int = 1,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Feed:
    """A feed of normal numbers, of zeros for integers.

    Args:
        signature: Whose inputs.
        open_size: Size of open dimensions.
        shapes: Of inputs by name; the empty name is the only input's.

    Raises:
        FeedError: An input without a known rank or type, or that is no tensor of numbers; no input
            of a name.
    """
    rng = np.random.default_rng(0)
    given = _by_input(signature, shapes or {})
    return {
        spec.name: _array(spec, open_size, given.get(spec.name), rng) for spec in signature.inputs
    }


def _by_input(
    signature: Signature, shapes: Mapping[str, Sequence[int]]
) -> dict[str, Sequence[int]]:
    names = signature.input_names
    only = names[0] if len(names) == 1 else ""
    found = {name or only: shape for name, shape in shapes.items()}
    for name in found:
        if name not in names:
            told = f"no input '{name}'" if name else "no name beside a shape, but several inputs"
            raise FeedError(f"there is {told}", fix=f"name one of {', '.join(names)}")
    return found


def _array(
    spec: TensorSpec, open_size: int, given: Sequence[int] | None, rng: np.random.Generator
) -> npt.NDArray[Any]:
    wanted = spec.shape if given is None else given
    usable = wanted is not None and not spec.container
    if not usable or spec.dtype is None or spec.dtype == ir.DataType.STRING:
        raise FeedError(f"no values can be made up for the input {spec}", fix="give --data")
    assert wanted is not None
    shape = [each if isinstance(each, int) else open_size for each in wanted]
    kind = spec.dtype.numpy()
    if spec.dtype.is_floating_point():
        return rng.standard_normal(shape).astype(kind)
    return np.zeros(shape, kind)


def sizes_in_a_run(program: Program, feed: Feed, names: Sequence[str]) -> dict[str, int]:
    """Elements of values as one run of ONNX Runtime makes them; those of no tensor are left out.

    Raises:
        FeedError: The feed does not fit the inputs.
        LoweringError: The model does not run on it.
    """
    own = set(program.signature.output_names)
    wanted = [name for name in dict.fromkeys(names) if name not in own]
    session = OrtSession(program.model, optimize=False, extra_outputs=wanted)
    found = session.run_named(feed)
    return {name: value.size for name, value in found.items() if isinstance(value, np.ndarray)}
