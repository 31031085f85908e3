"""Two runs of one suite, test by test: what differs, and whether that is our doing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tests.suites._runs import MISSING, PASSED, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.suites._runs import Run, Suite

#: It passes bare each time, and active never; or not each time.
BROKEN, UNSTEADY = "broken", "unsteady"
#: It fails bare as well now and then, or never failed active again.
FLAKY = "flaky"


@dataclass
class Difference:
    """A test that came to something else once volnux recorded.

    Attributes:
        test: its node id.
        before: what became of it bare.
        after: what became of it active.
        text: its failure, of the run in which it failed.
        bare: what became of it when the differing tests were run again, bare.
        active: likewise, active.
    """

    test: str
    before: str
    after: str
    text: str
    bare: list[str] = field(default_factory=list)
    active: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """What the runs that followed show; "changed" is what had not passed before, and differs."""
        if self.before != PASSED:
            return FLAKY if self.before in self.active or self.after in self.bare else "changed"
        failed = [word for word in self.active if word != PASSED]
        if self.active and (not failed or any(word != PASSED for word in self.bare)):
            return FLAKY
        return BROKEN if len(failed) == len(self.active) else UNSTEADY

    @property
    def is_ours(self) -> bool:
        """Whether a test that passed before fails after, as far as repeating tells."""
        return self.verdict in (BROKEN, UNSTEADY)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "verdict": self.verdict, "is_ours": self.is_ours}


def differences(before: Run, after: Run) -> list[Difference]:
    """The tests that two runs do not agree on, those first that passed before."""
    found = []
    for test in {**before.outcomes, **after.outcomes}:
        was, is_now = before.word(test), after.word(test)
        if was != is_now:
            failed = after if is_now != PASSED else before
            text = failed.outcomes[test].text if failed.word(test) != MISSING else ""
            found.append(Difference(test, was, is_now, text))
    return sorted(found, key=lambda one: (one.before != PASSED, one.test))


def settle(suite: Suite, found: list[Difference], rounds: int) -> None:
    """Run what differs again, in both modes by turns, to tell flaky from broken.

    Files are run as a whole, since a test may depend on those before it. What does not fail again
    that way may depend on the whole suite, so that is run once more.
    """
    files = sorted({one.test.partition("::")[0] for one in found})
    for number in range(rounds):
        _again(suite, found, files, f"round {number + 1} of {rounds}: {len(files)} files")
    in_doubt = [
        one for one in found if one.before == PASSED and {*one.active, *one.bare} == {PASSED}
    ]
    if in_doubt:
        _again(suite, in_doubt, (), "the whole suite again")


def _again(suite: Suite, found: list[Difference], files: Iterable[str], what: str) -> None:
    say(f"  {len(found)} tests differ; {what} …")
    bare, active = suite.run(is_active=False, files=files), suite.run(is_active=True, files=files)
    for one in found:
        one.bare.append(bare.word(one.test))
        one.active.append(active.word(one.test))
