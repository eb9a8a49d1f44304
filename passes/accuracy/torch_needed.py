"""What accuracy passes that run blocks in torch say where it is not installed."""

from __future__ import annotations

from importlib.util import find_spec

from qcompiler.errors import ConfigurationError


def require_torch(variant: str) -> None:
    """Raises ConfigurationError if torch cannot be imported."""
    if find_spec("torch") is None:
        raise ConfigurationError(
            f"the variant {variant} needs torch",
            why="it runs blocks of the network with gradients or one after the other",
            fix="pip install 'qcompiler[torch]', or leave it out of `variants`",
        )
