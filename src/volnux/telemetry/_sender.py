"""What to do with the records at the head of a queue: send them, judge the answer, try again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from volnux.telemetry._backoff import Backoff
from volnux.telemetry._render import records_of
from volnux.telemetry._sending import send_batch, send_singly, takes_batches
from volnux.telemetry._strikes import Strikes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volnux.telemetry._queue import RecordQueue
    from volnux.telemetry._raw import Raw
    from volnux.telemetry._sending import Sent

#: Records sent at once: few enough that the thread does not keep the interpreter from others.
BATCH = 256
#: The same for a publisher that takes them one at a time and may be slow at each.
SINGLES = 32


class Judgement(NamedTuple):
    """What became of one attempt's records.

    Attributes:
        delivered, rejected, poison: how many arrived, were refused, and failed too often.
        keep: the places, among those sent, of the records that are tried again.
    """

    delivered: int
    rejected: int
    poison: int
    keep: list[int]


class Sender:
    """Hands the oldest records of a queue to a publisher, and decides when and how to try again.

    The batch that fails stays at the head of the queue. An error of the back end (`OSError`,
    `PublishError`) makes it wait. Any other error may be the fault of a record: the batch is halved
    until the one to blame stands alone, and that one is given up after a few tries of its own.
    """

    def __init__(self, publisher: Any, uniform: Callable[[float, float], float]) -> None:
        self._publisher = publisher
        self._in_batches = takes_batches(publisher)
        self._most = self._limit = BATCH if self._in_batches else SINGLES
        self._strikes = Strikes()
        self.backoff = Backoff(uniform)

    def attempt(
        self, queue: RecordQueue, now: Callable[[], float], is_over: Callable[[], bool]
    ) -> tuple[Sent, Judgement] | None:
        """Send what is at the head of the queue and settle it there; None for an empty queue."""
        raws = queue.peek(self._limit)
        if not raws:
            return None
        records = records_of(raws)
        if self._in_batches:
            sent = send_batch(self._publisher, records)
        else:
            sent = send_singly(self._publisher, records, is_over)
        judgement = self._judge(raws, sent, now())
        queue.settle(
            len(sent.verdicts) + sent.suspects,
            delivered=judgement.delivered,
            dropped={"rejected": judgement.rejected, "poison": judgement.poison},
            keep=judgement.keep,
        )
        return sent, judgement

    def _judge(self, raws: list[Raw], sent: Sent, now: float) -> Judgement:
        answered = len(sent.verdicts)
        retries = [place for place, verdict in enumerate(sent.verdicts) if verdict == "retry"]
        rejected = sum(1 for verdict in sent.verdicts if verdict == "reject")
        delivered = answered - len(retries) - rejected
        if delivered or rejected:
            self.backoff.reset()
            self._limit = min(self._most, 2 * self._limit)
            poison = self._strikes.against_retried(raws, retries)
            retries = [place for place in retries if place not in poison]
        else:
            poison = []
        if retries:
            self.backoff.failed(now)
        suspects = list(range(answered, answered + sent.suspects))
        if suspects and self._is_to_give_up(sent, raws, suspects, now):
            if sent.is_permanent:
                rejected += len(suspects)
            else:
                poison += suspects
            suspects = []
        keep = retries + suspects
        self._strikes.forget(raws, keep)
        return Judgement(delivered, rejected, len(poison), keep)

    def _is_to_give_up(self, sent: Sent, raws: list[Raw], suspects: list[int], now: float) -> bool:
        """Decide over records whose attempt raised, and when to try them again."""
        if sent.is_permanent:
            return True
        if sent.is_backend_away:
            self.backoff.failed(now, sent.retry_after)
            return False
        if len(suspects) > 1:
            # Halves are tried at once, until the one to blame stands alone.
            self._limit = len(suspects) // 2
            return False
        if self._strikes.against_alone(raws[suspects[0]]):
            return True
        self.backoff.failed(now)
        return False
