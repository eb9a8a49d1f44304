"""Activations as layers and functions; losses."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the field's name

from benchmarks.torch_cases.case import (
    IMG,
    B,
    Case,
    S,
    ints,
    of_function,
    of_module,
    positive,
)


def activations() -> Iterator[Case]:
    for act in (
        nn.ReLU(),
        nn.ReLU(inplace=True),
        nn.ReLU6(),
        nn.ReLU6(inplace=True),
        nn.LeakyReLU(0.2),
        nn.LeakyReLU(inplace=True),
        nn.LeakyReLU(-0.1),
        nn.ELU(0.5),
        nn.ELU(inplace=True),
        nn.SELU(),
        nn.CELU(0.7),
        nn.GELU(),
        nn.GELU("tanh"),
        nn.SiLU(),
        nn.SiLU(inplace=True),
        nn.Mish(),
        nn.Hardswish(),
        nn.Hardsigmoid(),
        nn.Hardtanh(),
        nn.Hardtanh(-0.3, 2.0),
        nn.Hardshrink(0.3),
        nn.Softshrink(0.2),
        nn.Tanhshrink(),
        nn.Softplus(),
        nn.Softplus(2.0, 3.0),
        nn.Softsign(),
        nn.LogSigmoid(),
        nn.Threshold(0.1, -3.0),
        nn.RReLU(0.1, 0.3),
        nn.PReLU(),
        nn.PReLU(5),
        nn.Softmax(-1),
        nn.Softmax(1),
        nn.Softmax(0),
        nn.Softmax(),
        nn.LogSoftmax(1),
        nn.Softmin(1),
        nn.GLU(),
        nn.Identity(),
        nn.Dropout(),
        nn.Dropout1d(),
        nn.AlphaDropout(),
        nn.FeatureAlphaDropout(),
    ):
        shape = (4, 6, 6) if isinstance(act, nn.GLU) else B
        yield of_module(f"{act}", nn.Sequential(nn.Linear(6, 6), act), shape)
    yield of_module("Softmax2d", nn.Sequential(nn.Conv2d(4, 4, 1), nn.Softmax2d()), IMG)
    yield of_module(
        "Softmax2d unbatched", nn.Sequential(nn.Conv2d(4, 4, 1), nn.Softmax2d()), (4, 8, 9)
    )
    yield of_module("PReLU image", nn.Sequential(nn.Conv2d(4, 4, 1), nn.PReLU(4)), IMG)
    yield of_module("PReLU 2d", nn.Sequential(nn.Linear(6, 6), nn.PReLU(6)), S)
    yield of_module("GLU dim", nn.Sequential(nn.Conv2d(4, 4, 1), nn.GLU(1)), IMG)
    yield of_function(
        "softmax dtype",
        lambda x: (
            F.softmax(x, -1, dtype=torch.float64),
            F.log_softmax(x, 1, dtype=torch.float32),
            x.softmax(-1),
        ),
        B,
    )
    yield of_function("softmax one", lambda x: (F.softmax(x, 1), F.log_softmax(x, 1)), (4, 1, 6))
    yield of_function("softmax vector", lambda x: (F.softmax(x, 0), x.log_softmax(-1)), (6,))
    yield of_function(
        "half softmax",
        lambda x: (x.softmax(-1), F.gelu(x), F.silu(x), F.layer_norm(x, (6,))),
        lambda: torch.randn(4, 6).half(),
    )
    yield of_function(
        "in place F",
        lambda x: F.relu(F.leaky_relu(F.elu(x * 1, inplace=True), 0.1, True), inplace=True),
        B,
    )
    yield of_function("gumbel hard free", lambda x: F.softmax(x / 0.5, -1).argmax(-1), B)
    yield of_function(
        "functional",
        lambda x: (
            F.hardtanh(x, -0.2, 0.2),
            F.relu6(x),
            F.logsigmoid(x),
            F.celu(x),
            F.rrelu(x),
            F.glu(x, 2),
            F.softmin(x, 1),
            F.tanhshrink(x),
            F.softsign(x),
            F.hardswish(x),
            F.hardsigmoid(x),
            F.mish(x),
            F.threshold(x, 0.0, 1.0),
            F.prelu(x, torch.tensor([0.3])),
            F.dropout(x, training=False),
            F.selu(x),
            F.softplus(x, 1.0, 2),
        ),
        B,
    )
    yield of_function("glu method", F.glu, (4, 6))


def losses() -> Iterator[Case]:
    f = of_function
    yield f(
        "mse",
        lambda x, y: (
            F.mse_loss(x, y),
            F.mse_loss(x, y, reduction="none"),
            F.l1_loss(x, y, reduction="sum"),
            F.smooth_l1_loss(x, y, beta=0.5),
            F.huber_loss(x, y, delta=0.5),
            F.smooth_l1_loss(x, y, beta=0),
        ),
        B,
        B,
    )
    yield f(
        "ce",
        lambda x, t: (
            F.cross_entropy(x, t),
            F.cross_entropy(x, t, reduction="none"),
            F.cross_entropy(x, t, label_smoothing=0.1),
            F.cross_entropy(x, t, ignore_index=2),
            F.cross_entropy(x, t, weight=torch.arange(1.0, 7.0)),
            F.nll_loss(F.log_softmax(x, 1), t),
        ),
        S,
        ints(4),
    )
    yield f(
        "ce 2d",
        lambda x, t: (
            F.cross_entropy(x, t),
            F.cross_entropy(x, t, reduction="none"),
            F.nll_loss(F.log_softmax(x, 1), t, reduction="sum"),
        ),
        B,
        ints(4, 6),
    )
    yield f(
        "bce",
        lambda x, y: (
            F.binary_cross_entropy(x.sigmoid(), y.clamp(0, 1)),
            F.binary_cross_entropy_with_logits(x, y, reduction="none"),
            F.binary_cross_entropy_with_logits(x, y, pos_weight=torch.full((6,), 2.0)),
            F.soft_margin_loss(x, y.sign()),
            F.hinge_embedding_loss(x, y.sign()),
            F.kl_div(x.log_softmax(-1), y, reduction="batchmean"),
            F.poisson_nll_loss(x, y),
            F.gaussian_nll_loss(x, y, y),
        ),
        B,
        positive(4, 5, 6),
    )
    yield f(
        "margins",
        lambda x, y, z: (
            F.triplet_margin_loss(x, y, z),
            F.margin_ranking_loss(x, y, z.sign()),
            F.cosine_embedding_loss(x, y, z[:, 0].sign()),
        ),
        S,
        S,
        S,
    )
    yield f("multi margin", lambda x, t: (F.multi_margin_loss(x, t),), S, ints(4))
    yield f(
        "multilabel",
        lambda x, y: F.multilabel_soft_margin_loss(x, y.round()),
        S,
        lambda: torch.rand(4, 6),
    )
    yield f(
        "ctc",
        lambda x: F.ctc_loss(
            x.log_softmax(-1),
            torch.tensor([[1, 2], [2, 3]]),
            torch.tensor([5, 5]),
            torch.tensor([2, 2]),
        ),
        (5, 2, 6),
    )
