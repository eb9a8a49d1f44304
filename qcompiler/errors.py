"""Every error that qcompiler raises on purpose.

```
QCompilerError                 what, where, why, fix
├── ModelError                 the source model cannot be taken
│   ├── UnreadableModelError   not a file, not ONNX, damaged, external data missing
│   ├── UnsupportedOpsetError  an opset outside 6–28 with no way up
│   └── ExportError            torch.export / torch.fx could not capture the module
├── InvalidProgramError        the verifier found the IR broken (carries `diagnostics`)
├── ConfigurationError         a wrong argument, scheme, override or option
│   ├── PipelineError          a pipeline text or order that cannot work
│   └── RegistryError          an unknown or doubly registered pass or target
├── PassFailedError            a pass raised something that is not one of these
├── FeedError                  wrong input names, shapes or dtypes
├── CalibrationError           no calibration data, NaN or Inf in it, a damaged checkpoint
├── LegalityError              the target cannot run what was asked for (carries `diagnostics`)
├── LoweringError              an op has no lowering, or the engine refused the artifact
├── LossError                  what was asked for loses more than `max_loss`
├── SourceError                the float program differs from its source
├── VerificationError          the artifact differs from the integer reference
└── ArtifactError              an artifact cannot be written or read
```
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING

from qcompiler.printable import printable

if TYPE_CHECKING:
    from qcompiler.ir.diagnostics import Diagnostic


RAISED = "raised by"
"""How the notes of `users_code` begin."""


_LONGEST, _LINES = 1600, 12
"""Characters and lines of a part of an error that are shown."""
_MOST = 12
"""Diagnostics that are listed."""


class QCompilerError(Exception):
    """An error with four parts: what happened, where, why, and what to do about it.

    Args:
        what: The failure in one sentence, without a final full stop.
        where: Node, module path, file:line or input name.
        why: The cause, when it is known.
        fix: What the user can do.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        why: str | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.fix = fix
        self.pass_name: str | None = None
        self.pass_number: int | None = None

    def in_pass(self, name: str, number: int) -> None:
        """Records the pass it was raised in; the innermost one stays."""
        if self.pass_name is None:
            self.pass_name, self.pass_number = name, number

    def __str__(self) -> str:
        inside = f"'{self.pass_name}', number {self.pass_number}" if self.pass_name else None
        parts = [
            ("at", self.where),
            ("because", self.why),
            ("in pass", inside),
            ("to fix", self.fix),
        ]
        lines = [_cut(self.what)] + [f"  {label}: {_cut(text)}" for label, text in parts if text]
        return printable("\n".join(lines))


class _WithDiagnostics(QCompilerError):
    """An error that carries the diagnostics it stands for; they are listed in its text."""

    def __init__(
        self,
        what: str,
        diagnostics: Sequence[Diagnostic] = (),
        *,
        where: str | None = None,
        why: str | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(what, where=where, why=why, fix=fix)
        self.diagnostics = tuple(diagnostics)

    def __str__(self) -> str:
        told = [f"  {found}" for found in self.diagnostics[:_MOST]]
        more = len(self.diagnostics) - len(told)
        return "\n".join([super().__str__(), *told, *([f"  and {more} more"] if more else [])])


class ModelError(QCompilerError):
    """The source model cannot be taken."""


class UnreadableModelError(ModelError):
    """The file is missing, damaged or no model."""


class UnsupportedOpsetError(ModelError):
    """The model's opset cannot be brought to the one the IR uses."""


class ExportError(ModelError):
    """PyTorch could not capture the module as a graph."""


class InvalidProgramError(_WithDiagnostics):
    """The verifier found the IR broken."""


class ConfigurationError(QCompilerError):
    """A wrong argument, scheme, override or option."""


class PipelineError(ConfigurationError):
    """A pipeline text or pass order that cannot work."""


class RegistryError(ConfigurationError):
    """An unknown or doubly registered pass or target."""


class PassFailedError(QCompilerError):
    """A pass raised something that is no `QCompilerError`; that is its `__cause__`."""


class FeedError(QCompilerError):
    """Wrong input names, shapes or dtypes."""


class CalibrationError(QCompilerError):
    """No calibration data, non-finite values in it, or a damaged checkpoint."""


class LegalityError(_WithDiagnostics):
    """The target cannot run what was asked for."""


class LoweringError(QCompilerError):
    """An op has no lowering, or the engine refused the artifact."""


class LossError(QCompilerError):
    """A scheme or plan that was asked for loses more than `max_loss` allows."""


class SourceError(QCompilerError):
    """The program computes something else in float than the model that it was made from."""


class VerificationError(_WithDiagnostics):
    """The artifact differs from the integer reference."""


class ArtifactError(QCompilerError):
    """An artifact cannot be written or read."""


def _cut(text: str) -> str:
    """The text on one screen: what is printed of values may be long, their ends say most."""
    lines = text.splitlines()
    if len(lines) > _LINES:
        text = "\n".join([*lines[: _LINES // 2], "[...]", *lines[-_LINES // 2 :]])
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]} [...] {text[-_LONGEST // 2 :]}"


def first_line(said: object) -> str:
    """The first line of what an error or warning says; its type where it says nothing."""
    lines = (line.strip() for line in str(said).splitlines())
    return next(filter(None, lines), type(said).__name__)


def nearest(written: str, known: Iterable[str]) -> str | None:
    """The name that was likely meant: alike in letters, or written short (`ort`, `int-8`)."""
    names = list(known)
    plain = _letters(written)
    same = [name for name in names if _letters(name) == plain]
    begun = [name for name in names if plain and _letters(name).startswith(plain)]
    near = same or sorted(begun, key=len) or get_close_matches(written, names, n=1, cutoff=0.6)
    short = [name for name in names if _is_short(plain, _letters(name))]
    far = get_close_matches(written, names, n=1, cutoff=0.5)
    return next(iter([*near, *sorted(short, key=len), *far]), None)


def did_you_mean(written: str, known: Iterable[str], otherwise: str) -> str:
    """The fix for a wrong name."""
    near = nearest(written, known)
    return f"did you mean '{near}'? {otherwise}" if near else otherwise


@contextmanager
def users_code(called: str) -> Iterator[None]:
    """Around a call of a function or iterator of the user's.

    What it raises is not ours to change: it keeps its type and its traceback, and says in a note
    (PEP 678) what was called.
    """
    try:
        yield
    except QCompilerError:
        raise
    except Exception as error:
        error.add_note(f"{RAISED} {called}")
        raise


def _letters(name: str) -> str:
    return "".join(each for each in name.lower() if each.isalnum())


def _is_short(short: str, name: str) -> bool:
    """Whether it starts like the name and its letters are in it in this order."""
    rest = iter(name)
    return len(short) > 1 and short[0] == name[:1] and all(each in rest for each in short)
