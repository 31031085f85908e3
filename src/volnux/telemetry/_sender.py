"""What to do with the records at the head of a queue: send them, judge the answer, try again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from volnux.telemetry._backoff import Backoff
from volnux.telemetry._publisher import MetricsPublisher
from volnux.telemetry._render import records_of
from volnux.telemetry._sending import send_batch, send_singly, takes_batches
from volnux.telemetry._strikes import Strikes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal

    from volnux.telemetry._queues import Queue
    from volnux.telemetry._raw import Raw
    from volnux.telemetry._sending import Sent

#: Records sent to a publisher that takes them one at a time, and may be slow at each, before another look.
SINGLES = 32
#: So many failures in a row are the back end's, and make it wait.
IN_VAIN = 100


class Judgement(NamedTuple):
    """What became of one attempt's records.

    Attributes:
        delivered, rejected, poison: how many arrived, were refused, and failed too often.
        keep: the places, among those sent, of the records that are tried again before all others.
        behind: the places of those that are tried again after all others.
    """

    delivered: int
    rejected: int
    poison: int
    keep: list[int]
    behind: list[int]


class Sender:
    """Hands the oldest records of a queue to a publisher, and decides when and how to try again.

    An error of the back end (`OSError`, `PublishError`) makes it wait, with the batch at the head
    of the queue. Any other error may be the fault of a record: the batch is halved until the one to
    blame stands alone. That one goes behind the others, and is given up when it fails again after
    these got through. Where nothing at all gets through, it is the back end, which is left alone
    for a while, and nobody is to blame.
    """

    def __init__(self, publisher: Any, uniform: Callable[[float, float], float]) -> None:
        self._publisher = publisher
        self._in_batches = takes_batches(publisher)
        self._most = self._limit = _batch_size(publisher) if self._in_batches else SINGLES
        self._strikes = Strikes()
        self._in_vain = 0
        self.backoff = Backoff(uniform)

    def attempt(
        self, queue: Queue, now: Callable[[], float], is_over: Callable[[], bool]
    ) -> tuple[Sent, Judgement] | None:
        """Send what is at the head of the queue and settle it there; None for an empty queue."""
        raws = self._strikes.together(queue.peek(self._limit))
        if not raws:
            return None
        records = records_of(raws)
        if self._in_batches:
            sent = send_batch(self._publisher, records)
        else:
            sent = send_singly(self._publisher, records, is_over)
        judgement = self._judge(raws, sent, queue.pending, now())
        queue.settle(
            len(sent.verdicts) + sent.suspects,
            delivered=judgement.delivered,
            dropped={"rejected": judgement.rejected, "poison": judgement.poison},
            keep=judgement.keep,
            behind=judgement.behind,
        )
        return sent, judgement

    def _judge(self, raws: list[Raw], sent: Sent, pending: int, now: float) -> Judgement:
        answered = len(sent.verdicts)
        keep = _places(sent, "retry")
        rejected = _places(sent, "reject")
        delivered = answered - len(keep) - len(rejected)
        poison: list[int] = []
        behind: list[int] = []
        if delivered or rejected:
            self._passed()
            poison = self._strikes.against_retried(raws, keep)
            keep = [place for place in keep if place not in poison]
        if keep:
            self.backoff.failed(now)
        if sent.suspects:
            fate = self._fate(sent, raws[answered], pending - answered, now)
            fates = {"rejected": rejected, "poison": poison, "keep": keep, "behind": behind}
            fates[fate].extend(range(answered, answered + sent.suspects))
        self._strikes.forget(raws, keep + behind)
        return Judgement(delivered, len(rejected), len(poison), keep, behind)

    def _passed(self) -> None:
        self.backoff.reset()
        self._limit = min(self._most, 2 * self._limit)
        self._strikes.passed()
        self._in_vain = 0

    def _fate(
        self, sent: Sent, first: Raw, left: int, now: float
    ) -> Literal["rejected", "poison", "keep", "behind"]:
        """Decide over records whose attempt raised, and when to try them again.

        Args:
            sent: what came of the attempt.
            first: the first of them.
            left: how many records are in the queue, without those that were dealt with before it.
            now: the time.
        """
        if sent.is_permanent:
            return "rejected"
        if sent.is_backend_away:
            self.backoff.failed(now, sent.retry_after)
            return "keep"
        if sent.suspects > 1:
            # Halves are tried at once, until the one to blame stands alone.
            self._limit = sent.suspects // 2
            return "keep"
        if self._strikes.against_alone(first, is_last=left == 1):
            return "poison"
        if not self._strikes.is_overtaken(first):
            self._failed_in_vain(left, now)
        return "behind"

    def _failed_in_vain(self, left: int, now: float) -> None:
        """Have the back end left alone when all the others, or very many, have failed as well."""
        self._in_vain += 1
        if self._in_vain >= min(left, IN_VAIN):
            self.backoff.failed(now)
            self._in_vain = 0


def _places(sent: Sent, wanted: str) -> list[int]:
    return [place for place, verdict in enumerate(sent.verdicts) if verdict == wanted]


def _batch_size(publisher: Any) -> int:
    size = getattr(publisher, "batch_size", MetricsPublisher.batch_size)
    return max(1, size) if type(size) is int else MetricsPublisher.batch_size
