"""What every region may run as, for passes that decide it."""

from __future__ import annotations

from qcompiler.decisions.forms import region_options
from qcompiler.decisions.options import Options
from qcompiler.ir.program import Program
from qcompiler.pipeline.contract import PassContext
from qcompiler.target.contract import Target


def options_of(program: Program, target: Target, context: PassContext) -> list[Options]:
    """Options of the target's regions, under the overrides that a context may hold.

    Raises:
        ConfigurationError: See `region_options`.
    """
    overrides = context.options.get("overrides")
    return region_options(program, target, target.regions(program), overrides)
