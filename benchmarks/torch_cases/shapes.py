"""Functions that reshape, join and split."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.torch_cases.case import (
    B,
    Case,
    S,
    ints,
    of_function,
)


def shapes() -> Iterator[Case]:
    f = of_function
    yield f(
        "reshape",
        lambda x: (
            x.reshape(-1, 6),
            x.view(4, -1),
            x.reshape(x.shape[0], 2, -1),
            x.view(-1),
            x.flatten(),
            x.flatten(1),
            x.flatten(-2, -1),
            x.unflatten(2, (2, 3)),
            x.unflatten(-1, (-1, 2)),
            x.ravel(),
            x.reshape_as(x),
            x.view_as(x),
        ),
        B,
    )
    yield f(
        "permute",
        lambda x: (
            x.permute(2, 0, 1),
            x.transpose(-1, 0),
            x.mT,
            x.swapaxes(0, 1),
            x.swapdims(1, 2),
            torch.movedim(x, 0, -1),
            torch.movedim(x, (0, 1), (1, 0)),
            x.transpose(1, 2).contiguous(),
            torch.moveaxis(x, 2, 0),
        ),
        B,
    )
    yield f("t", lambda x: (x.t(), x.T, x.H, x.adjoint(), torch.t(x)), S)
    yield f(
        "squeeze",
        lambda x: (
            x.squeeze(1),
            x.squeeze(-1),
            x.squeeze(),
            x.squeeze((1, 3)),
            x.squeeze(0),
            x.unsqueeze(-1),
            x.unsqueeze(0),
        ),
        (4, 1, 5, 1),
    )
    yield f(
        "expand",
        lambda x: (
            x.expand(4, 3, 6),
            x.expand(-1, 3, -1),
            x.expand(2, 4, 1, 6),
            x.expand_as(x),
            x.repeat(1, 2, 1),
            x.repeat(2, 1, 1, 3),
            x.broadcast_to(4, 5, 6),
            x.tile(2),
            x.tile((1, 2, 1)),
        ),
        (4, 1, 6),
    )
    yield f(
        "repeat_interleave",
        lambda x: (
            x.repeat_interleave(2, 1),
            x.repeat_interleave(3, dim=0),
            x.repeat_interleave(2),
        ),
        B,
    )
    yield f(
        "repeat_interleave tensor",
        lambda x: x.repeat_interleave(torch.tensor([1, 2, 0, 3, 1]), dim=1),
        B,
    )
    yield f(
        "flip",
        lambda x: (
            x.flip(1),
            x.flip((0, -1)),
            torch.fliplr(x),
            torch.flipud(x),
            torch.rot90(x, 1, (1, 2)),
            torch.rot90(x, 2, (0, 1)),
            torch.rot90(x, -1, (1, 2)),
        ),
        B,
    )
    yield f("roll", lambda x: (x.roll(1), x.roll(2, 1), x.roll((1, -2), (0, 2)), x.roll(-1, -1)), B)
    yield f(
        "cat",
        lambda x, y: (
            torch.cat([x, y]),
            torch.cat((x, y), -1),
            torch.concat([x, y], dim=1),
            torch.concatenate([x, y], 1),
            torch.stack([x, y]),
            torch.stack([x, y], -1),
            torch.hstack([x, y]),
            torch.vstack([x, y]),
            torch.dstack([x, y]),
            torch.column_stack([x, y]),
            torch.row_stack([x, y]),
        ),
        B,
        B,
    )
    yield f("cat types", lambda x, y: torch.cat([x, y], 1), B, ints(4, 5, 6))
    yield f("cat empty", lambda x: torch.cat([x, x[:, :0]], 1), B)
    yield f("cat legacy empty", lambda x: torch.cat([torch.zeros(0), x]), B)
    yield f(
        "split",
        lambda x: (
            *x.split(2, 1),
            *x.split([1, 4], 1),
            *x.chunk(3, -1),
            *x.tensor_split(2, 2),
            *x.tensor_split((1, 3), 1),
            *torch.hsplit(x, 5),
            *torch.unbind(x, 1),
            *torch.dsplit(x, 2),
        ),
        B,
    )
    yield f("vsplit batch", lambda x: torch.vsplit(x, 2), B)
    yield f("split batch", lambda x: x.split(1), B)
    yield f("unbind batch", lambda x: x.unbind(0)[0], B)
    yield f("iterate batch", lambda x: sum(row for row in x), B)
    yield f("chunk batch", lambda x: x.chunk(2)[0] + x.chunk(2)[1], B)
    yield f("tensor_split batch", lambda x: x.tensor_split(3)[1], B)
    yield f(
        "narrow",
        lambda x: (
            x.narrow(1, 1, 2),
            x.narrow(-1, -3, 2),
            x.select(1, -1),
            x.select(0, 0),
            torch.narrow_copy(x, 1, 0, 2),
        ),
        B,
    )
    yield f(
        "slicing",
        lambda x: (
            x[1:],
            x[:, -2:],
            x[..., ::2],
            x[:, :, 1:-1:2],
            x[None],
            x[:, None, :, None],
            x[-1],
            x[0, 1],
            x[:, 3],
            x[..., 0],
            x[:2, 1:, ::3],
            x[1:1],
        ),
        B,
    )
