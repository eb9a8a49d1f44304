"""The test kit for passes and targets of one's own, see docs/testing.md.

```python
from qcompiler.testing import assert_ir, assert_same_function, random_net, TargetContract
```

`TargetContract` needs pytest, the others do not.
"""

from typing import TYPE_CHECKING, Any

from qcompiler.testing.assertions import assert_ir, assert_same_function
from qcompiler.testing.random_nets import Net
from qcompiler.testing.random_nets import net as random_net

if TYPE_CHECKING:
    from qcompiler.testing.target_contract import TargetContract

__all__ = ["Net", "TargetContract", "assert_ir", "assert_same_function", "random_net"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name != "TargetContract":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from qcompiler.testing.target_contract import TargetContract

        return TargetContract
