"""`volnux doctor`: whether records would arrive where they are to go, and if not, what helps."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from volnux._text import some, visible
from volnux.cli._doctor_visits import Visit
from volnux.cli._doctor_wire import StepError, StepSkippedError, Wire

if TYPE_CHECKING:
    from volnux.cli._doctor_target import Target

#: How a step went: its sign, the same where that cannot be written, and its colour.
_SIGNS: Final = {
    True: ("✓", "ok", "green"),
    False: ("✗", "NO", "bold red"),
    None: ("-", "-", "yellow"),
}


@dataclass(frozen=True)
class Taken:
    """A step that was taken.

    Attributes:
        step: its name.
        ok: whether it went well; None if it could not be taken, which is nothing to worry about.
        detail: what was found.
        cure: what helps.
    """

    step: str
    ok: bool | None
    detail: str
    cure: str = ""


@dataclass
class Found:
    """What a visit has found.

    Attributes:
        url: where, without secrets.
        kind: what is there, if that is known.
        ok: whether records arrive there.
        steps: those that were taken.
    """

    url: str
    kind: str | None
    ok: bool = True
    steps: list[Taken] = field(default_factory=list)


@dataclass(frozen=True)
class Doctor:
    """What `volnux doctor` was asked to do; calling it does it.

    Attributes:
        targets: what to visit.
        timeout: seconds that a step may take.
        ca: a file with the authorities to trust, or None.
        index_prefix: that of the Elasticsearch publisher in question.
        as_json: whether to write for programs.
    """

    targets: tuple[Target, ...]
    timeout: float
    ca: str | None
    index_prefix: str
    as_json: bool

    def __call__(self) -> int:
        """Visit everything; return 0 if all is well, or 1."""
        found = []
        try:
            for target in self.targets:
                found.append(self._visit(target))
                if not self.as_json:
                    _write(found[-1])
        except KeyboardInterrupt:
            return 130
        is_well = all(one.ok for one in found)
        if self.as_json:
            answer = {"ok": is_well, "back_ends": [asdict(one) for one in found]}
            sys.stdout.write(json.dumps(answer, indent=2) + "\n")
        elif len(found) > 1:
            well = sum(one.ok for one in found)
            sys.stdout.write(f"{well} of {some(len(found), 'back end')} well\n")
        return 0 if is_well else 1

    def _visit(self, target: Target) -> Found:
        wire = Wire(target, self.timeout, self.ca)
        visit = Visit(wire, self.index_prefix)
        found = Found(target.url, target.kind)
        for name, step in visit.steps():
            try:
                taken = Taken(name, ok=True, detail=wire.bounded(step))
            except StepSkippedError as reason:
                taken = Taken(name, ok=None, detail=str(reason))
            except StepError as fault:
                taken = Taken(name, ok=False, detail=fault.detail, cure=fault.cure)
                found.ok = False
            detail, cure = (visible(target.without(text)) for text in (taken.detail, taken.cure))
            found.steps.append(Taken(name, taken.ok, detail, cure))
            if not found.ok:
                break
        found.kind = visit.kind
        if not _is_any_written(found):
            found.ok = False
        return found


def _is_any_written(found: Found) -> bool:
    """Whether one signal at least was taken, of those that an OTLP receiver may or may not take."""
    signals = [taken.ok for taken in found.steps if taken.step in ("traces", "metrics")]
    return not signals or any(signals)


def _write(found: Found) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, emoji=False, markup=False, soft_wrap=True)
    can_sign = _can_write("✓✗", console.encoding)
    console.print(Text(f"{found.url}  {found.kind or 'unknown'}", style="bold"))
    for taken in found.steps:
        sign, plain, colour = _SIGNS[taken.ok]
        line = Text("  ")
        line.append(f"{sign if can_sign else plain:2}", style=colour)
        line.append(f"{taken.step:8} {taken.detail}")
        console.print(line)
        if taken.cure:
            console.print(Text(f"             {taken.cure}", style="yellow"))


def _can_write(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (LookupError, UnicodeError):
        return False
    return True
