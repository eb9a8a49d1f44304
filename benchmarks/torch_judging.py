"""One form of `torch_cases`, compiled and called, against the module itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

import qcompiler as qc
from benchmarks.torch_cases.case import Case
from qcompiler.errors import QCompilerError
from qcompiler.frontends.torch_attention import without_fused_attention

CLASSES = (
    "right",
    "told",
    "noisy",
    "nothing",
    "refused",
    "placeless",
    "wrong",
    "foreign",
    "died",
    "skipped",
)
FAULTS = ("placeless", "wrong", "foreign", "died")
_TOLERANCE = {"rtol": 2e-3, "atol": 2e-4}
"""Of float32 results of a few hundred terms in another order."""
_HALF = {"rtol": 2e-2, "atol": 1e-2}
"""Of results of half types, computed in float32."""
_NOISY = 10.0
"""dB; less than this of int8 is noted."""

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Result:
    """What became of one form.

    Attributes:
        name: Of the case.
        outcome: One of `CLASSES`.
        reason: The error, the difference, or what further calls gave.
    """

    name: str
    outcome: str
    reason: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether it is to be mended."""
        return self.outcome in FAULTS


def judge(case: Case, target: str, scheme: str) -> Result:
    """Compiles and calls one form, and calls it with other sizes of axes 0 and 1."""
    torch.manual_seed(0)
    feeds = [case.feed() for _ in range(3)]
    try:
        wanted = _run(case.module, _call_of(feeds[0]))
    except Exception as error:  # noqa: BLE001 - not even torch takes it
        return Result(case.name, "skipped", f"{type(error).__name__}: {error}")
    try:
        options = {"scheme": scheme, "recipe": "fast", "budget": 0, **case.options}
        compiled = qc.compile(case.module, target, feeds, **options)
        args, kwargs = _call_of(feeds[0])
        found = compiled(*args, **kwargs)
    except QCompilerError as error:
        return Result(case.name, _refusal(error, case.module), _in_words(error))
    except Exception as error:  # noqa: BLE001 - this is what is counted
        return Result(case.name, "foreign", f"{type(error).__name__}: {error}")
    kind, text = compared(found, wanted, scheme)
    if kind == "right":
        calls = [*_other_sizes(feeds[0]), *_other_calls(case)]
        kind, text = _called(compiled, case.module, calls, scheme)
    if kind == "wrong" and compiled.report.warnings:
        kind, text = "told", f"{text}; {compiled.report.warnings[0]}"
    return Result(case.name, kind, text)


def judged(forms: Sequence[Case], target: str, scheme: str) -> list[Result]:
    """The results of several forms: those that are right in one module together, the rest alone."""
    right = _right_together(forms, target, scheme) if len(forms) > 1 else set()
    return [
        Result(form.name, "right", "with others")
        if form.name in right
        else judge(form, target, scheme)
        for form in forms
    ]


class Together(torch.nn.Module):
    """Several forms in one module, each with arguments of its own: one capture for all."""

    def __init__(self, forms: Sequence[Case], counts: Sequence[int]) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList(form.module for form in forms)
        self.counts = counts

    def forward(self, *tensors: Tensor) -> list[Any]:
        """What each of them gives."""
        remaining = iter(tensors)
        calls = ([next(remaining) for _ in range(count)] for count in self.counts)
        return [part(*call) for part, call in zip(self.parts, calls, strict=True)]


def _right_together(forms: Sequence[Case], target: str, scheme: str) -> set[str]:
    """Names of the forms that are right in one module; nothing of the rest."""
    torch.manual_seed(0)
    plain = [form for form in forms if not form.options and not form.calls]
    drawn = [(form, form.feed(), form.feed()) for form in plain]
    fitting = [each for each in drawn if _is_plain(each[1])]
    if len(fitting) < 2:
        return set()
    chosen = [form for form, _, _ in fitting]
    first = tuple(chain.from_iterable(feed for _, feed, _ in fitting))
    second = tuple(chain.from_iterable(feed for _, _, feed in fitting))
    module = Together(chosen, [len(feed) for _, feed, _ in fitting]).eval()
    options: dict[str, Any] = {"scheme": scheme, "recipe": "fast", "budget": 0}
    try:
        wanted = _run(module, _call_of(first))
        compiled = qc.compile(module, target, [first, second], **options)
        found = compiled(*_call_of(first)[0])
    except Exception:  # noqa: BLE001 - each is tried alone then
        return set()
    each = zip(chosen, found, wanted, strict=True)
    return {form.name for form, have, want in each if compared(have, want, scheme)[0] == "right"}


def _is_plain(feed: Any) -> bool:
    return isinstance(feed, tuple) and all(isinstance(each, Tensor) for each in feed)


def _run(module: torch.nn.Module, call: Arguments) -> Any:
    """What the module computes as it is written: torch's fused attention gives NaN for padding."""
    with torch.no_grad(), without_fused_attention():
        return module(*call[0], **call[1])


def _fresh(call: Any) -> Any:
    """With tensors of its own."""
    return pytree.tree_map(lambda x: x.detach().clone() if isinstance(x, Tensor) else x, call)


def _call_of(feed: Any) -> Arguments:
    """A feed as the call that it stands for."""
    feed = _fresh(feed)
    if isinstance(feed, dict):
        return (), feed
    if not isinstance(feed, tuple) or hasattr(feed, "_fields"):
        return (feed,), {}
    if len(feed) > 1 and isinstance(feed[-1], dict) and set(feed[-1]) == {"gain"}:
        return feed[:-1], feed[-1]
    return feed, {}


def _in_words(error: QCompilerError) -> str:
    return f"{type(error).__name__} {error.what} | at {error.where} | {error.why}"


def _refusal(error: QCompilerError, module: torch.nn.Module) -> str:
    """Which class a refusal is of: placed by line, module or argument, or by nothing."""
    where = str(error.where or "")
    if "no op that the target quantizes" in str(error):
        return "nothing"
    paths = [path for path, _ in module.named_modules() if path]
    words = (".py:", "the module itself", "argument '", "the first feed", "dynamic:", *paths)
    return "refused" if any(word in where for word in words) else "placeless"


def _other_sizes(feed: Any) -> Iterator[tuple[str, Arguments]]:
    if isinstance(feed, tuple) and feed and isinstance(feed[0], Tensor):
        for axis in (0, 1):
            for size in (1, 7):
                yield f"axis {axis} = {size}", (_resized(feed, axis, size), {})


def _other_calls(case: Case) -> Iterator[tuple[str, Arguments]]:
    for number, call in enumerate(case.calls):
        yield f"call {number}", call()


def _called(
    compiled: Any, module: torch.nn.Module, calls: Sequence[tuple[str, Arguments]], scheme: str
) -> tuple[str, str]:
    """Every call gives what the module gives, or an error of ours."""
    told = []
    for name, call in calls:
        try:
            wanted = _run(module, _fresh(call))
        except Exception:  # noqa: BLE001 - the module takes no such call: nothing is promised
            wanted = None
        try:
            args, kwargs = _fresh(call)
            found = compiled(*args, **kwargs)
        except QCompilerError as error:
            told.append(f"{name} refused: {type(error).__name__} {error.what[:60]}")
            continue
        except Exception as error:  # noqa: BLE001 - this is what is counted
            return "foreign", f"{name}: {type(error).__name__}: {error}"
        if wanted is None:
            told.append(f"{name} taken, not by the module")
            continue
        kind, text = compared(found, wanted, "float32" if scheme == "float32" else "shapes")
        if kind != "right":
            return kind, f"{name}: {text}"
        told.append(f"{name} right")
    return "right", ", ".join(told)


def _resized(feed: tuple[Any, ...], axis: int, size: int) -> tuple[Any, ...]:
    """Axis 0 or 1 longer or shorter in all tensors where it is as long as in the first."""
    first = feed[0]
    old = first.shape[axis] if first.ndim > axis else None

    def other(x: Any) -> Any:
        if not isinstance(x, Tensor) or x.ndim <= axis or x.shape[axis] != old:
            return x
        return torch.cat([x] * math.ceil(size / max(old, 1)), axis).narrow(axis, 0, size).clone()

    return pytree.tree_map(other, feed)  # type: ignore[no-any-return]


def compared(found: Any, wanted: Any, scheme: str) -> tuple[str, str]:
    """The class of a result, and what differs; scheme "shapes" leaves the values out."""
    have, spec = pytree.tree_flatten(found)
    want, wished = pytree.tree_flatten(wanted)
    if spec != wished:
        return "wrong", f"nested as {spec}, should be {wished}"[:300]
    worst = math.inf
    for index, (left, right) in enumerate(zip(have, want, strict=True)):
        text, decibels = _leaves_compared(left, right, scheme)
        if text:
            return "wrong", f"output {index} {text}"
        worst = min(worst, decibels)
    return ("noisy", f"{worst:.1f} dB") if worst < _NOISY else ("right", "")


def _leaves_compared(left: Any, right: Any, scheme: str) -> tuple[str, float]:
    """What differs, and dB of an int8 result."""
    if not isinstance(right, Tensor):
        return ("" if left == right else f"is {left!r}, should be {right!r}"), math.inf
    if not isinstance(left, Tensor):
        return f"is a {type(left).__name__}", math.inf
    for part in ("shape", "dtype"):
        if getattr(left, part) != getattr(right, part):
            return f"{part} {getattr(left, part)} for {getattr(right, part)}", math.inf
    if not right.numel() or scheme == "shapes":
        return "", math.inf
    a, b = left.double(), right.detach().double()
    if scheme != "float32":
        return "", _decibels(a, b) if right.is_floating_point() else math.inf
    half = right.dtype in (torch.float16, torch.bfloat16)
    if torch.allclose(a, b, equal_nan=True, **(_HALF if half else _TOLERANCE)):
        return "", math.inf
    undefined = int((a.isfinite() != b.isfinite()).sum())
    if undefined:
        return f"has {undefined} values that are finite in one alone", math.inf
    return f"differs by {float((a - b).abs().nan_to_num().max()):.3g}", math.inf


def _decibels(a: Tensor, b: Tensor) -> float:
    noise = float(((a - b).nan_to_num() ** 2).sum())
    power = float((b.nan_to_num(posinf=0, neginf=0) ** 2).sum())
    return 10 * math.log10(power / noise) if noise and power else math.inf
