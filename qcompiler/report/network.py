"""The network as a report draws it: regions and the nodes between them."""

from __future__ import annotations

from dataclasses import dataclass

from qcompiler.errors import ConfigurationError


@dataclass(frozen=True)
class Vertex:
    """A region, a node that is in no region, an input or an output.

    Attributes:
        name: Key of the region, name of the node or of the input or output.
        label: Its ops; `input` and `output` for those.
        region: Its row in `Report.regions`; None for everything else.
        shape: Of its result.
        module: Dotted module path, if it is known.
        source: `file:line`, if it is known.
        note: Why it is in no region.
    """

    name: str
    label: str
    region: int | None = None
    shape: str = ""
    module: str | None = None
    source: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Network:
    """Vertices in graph order, and edges from a vertex to one that reads its result.

    Raises:
        ConfigurationError: An edge that does not go forwards between vertices.
    """

    vertices: tuple[Vertex, ...] = ()
    edges: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        count = len(self.vertices)
        bad = next((each for each in self.edges if not 0 <= each[0] < each[1] < count), None)
        if bad is not None:
            raise ConfigurationError(f"{bad} is no edge of a network of {count} vertices")

    @property
    def outside(self) -> tuple[Vertex, ...]:
        """Nodes that are in no region."""
        return tuple(each for each in self.vertices if each.region is None and each.note)
