"""ai.onnx.ml: what of classical models is arithmetic on numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def _vector(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(list(values), dtype=like.dtype)


def array_feature_extractor(x: Tensor, indices: Tensor) -> Tensor:
    """ArrayFeatureExtractor: columns of the last axis; vectors become one row."""
    rows = x.unsqueeze(0) if x.dim() == 1 else x
    return rows.index_select(-1, indices.reshape(-1).to(torch.int64))


def binarizer(x: Tensor, *, threshold: float = 0.0) -> Tensor:
    """Binarizer: 1 above the threshold, else 0."""
    return (x > threshold).to(x.dtype)


def scaler(
    x: Tensor, *, offset: Sequence[float] | None = None, scale: Sequence[float] | None = None
) -> Tensor:
    """Scaler: (x - offset) * scale in float32."""
    y = x.to(torch.float32)
    y = y if offset is None else y - _vector(offset, y)
    return y if scale is None else y * _vector(scale, y)


def normalizer(x: Tensor, *, norm: str = "MAX") -> Tensor:
    """Normalizer of rows; a row whose norm is 0 stays."""
    y = x.to(torch.float32)
    if norm == "MAX":
        length = y.amax(-1, keepdim=True)
    else:
        length = torch.linalg.vector_norm(y, 1 if norm == "L1" else 2, -1, True)
    return y / torch.where(length == 0, torch.ones_like(length), length)


def imputer(
    x: Tensor,
    *,
    imputed_value_floats: Sequence[float] | None = None,
    imputed_value_int64s: Sequence[int] | None = None,
    replaced_value_float: float = 0.0,
    replaced_value_int64: int = 0,
) -> Tensor:
    """Imputer: a marked value (NaN, too) becomes a value for all or for each column."""
    if x.dtype.is_floating_point:
        marked = (
            torch.isnan(x)
            if replaced_value_float != replaced_value_float
            else (x == replaced_value_float)
        )
        return torch.where(marked, _vector(imputed_value_floats or [0.0], x), x)
    filled = _vector(imputed_value_int64s or [0], x)
    return torch.where(x == replaced_value_int64, filled, x)


def feature_vectorizer(*parts: Tensor, inputdimensions: Sequence[int] | None = None) -> Tensor:
    """FeatureVectorizer: columns of all operands side by side."""
    del inputdimensions
    return torch.cat([part.reshape(part.shape[0], -1).to(torch.float32) for part in parts], 1)


def _transformed(scores: Tensor, transform: str) -> Tensor:
    if transform == "SOFTMAX":
        return torch.softmax(scores, -1)
    if transform == "LOGISTIC":
        return torch.sigmoid(scores)
    if transform == "SOFTMAX_ZERO":
        raised = torch.where(scores == 0, torch.zeros_like(scores), torch.exp(scores))
        return raised / raised.sum(-1, keepdim=True)
    return scores


def linear_regressor(
    x: Tensor,
    *,
    coefficients: Sequence[float],
    intercepts: Sequence[float] | None = None,
    post_transform: str = "NONE",
    targets: int = 1,
) -> Tensor:
    """LinearRegressor."""
    y = x.to(torch.float32)
    y = y @ _vector(coefficients, y).reshape(targets, -1).t()
    y = y if intercepts is None else y + _vector(intercepts, y)
    return _transformed(y, post_transform)


def label_encoder(
    x: Tensor,
    *,
    keys_floats: Sequence[float] | None = None,
    keys_int64s: Sequence[int] | None = None,
    values_floats: Sequence[float] | None = None,
    values_int64s: Sequence[int] | None = None,
    default_float: float = -0.0,
    default_int64: int = -1,
    keys_tensor: Tensor | None = None,
    values_tensor: Tensor | None = None,
    default_tensor: Tensor | None = None,
) -> Tensor:
    """LabelEncoder between numbers; NaN is a key like any other."""
    keys = _given(keys_tensor, keys_floats, keys_int64s)
    values = _given(values_tensor, values_floats, values_int64s)
    other = default_float if values.dtype.is_floating_point else default_int64
    made = torch.full(x.shape, other, dtype=values.dtype)
    if default_tensor is not None:
        made = default_tensor.reshape(()).to(values.dtype).expand(x.shape)
    for key, value in zip(keys, values, strict=True):
        same = (x == key) | ((x != x) & (key != key))
        made = torch.where(same, value, made)
    return made


def _given(
    tensor: Tensor | None, floats: Sequence[float] | None, whole: Sequence[int] | None
) -> Tensor:
    if tensor is not None:
        return tensor.reshape(-1)
    if floats is not None:
        return torch.tensor(list(floats), dtype=torch.float32)
    return torch.tensor(list(whole or ()), dtype=torch.int64)
