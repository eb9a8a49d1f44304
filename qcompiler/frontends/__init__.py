"""Front ends: every kind of source model becomes a `Program`."""

from qcompiler.frontends.load import load

__all__ = ["load"]
