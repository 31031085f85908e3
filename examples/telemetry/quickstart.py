"""Switch telemetry on, run a pipeline, ask what happened: `python examples/telemetry/quickstart.py`.

What it prints stands at the end of this file.
"""

import time

from volnux.telemetry import (
    get_failed_events,
    get_metrics,
    get_retry_stats,
    get_slow_events,
    monitor_events,
    record_retry,
    traced_event,
)

WAREHOUSE_ANSWERS = iter(["busy", "agreed", "agreed"])


@traced_event
def parse(order: str) -> tuple[int, str]:
    """Read an order; one that has no number fails, and its event says why."""
    count, fruit = order.split()
    return int(count), fruit


@traced_event("ship", attributes={"warehouse": "north"})
def ship(count: int, fruit: str) -> str:
    """Ask the warehouse until it agrees: a loop of your own says when it tries again."""
    while (answer := next(WAREHOUSE_ANSWERS)) != "agreed":
        record_retry(ConnectionError(f"the warehouse is {answer}"), delay=0.1)
        time.sleep(0.1)
    return f"{count} {fruit} shipped"


@traced_event
def take_stock() -> None:
    """Take longer than two seconds, to have something slow to find."""
    time.sleep(2.1)


# Enable telemetry collection
monitor_events()

# Run your pipeline...
for order in ["3 apples", "12 pears", "many plums"]:
    try:
        print(ship(*parse(order)))
    except ValueError as error:
        print(f"skipped: {error}")
take_stock()

# Get metrics after execution
metrics_json = get_metrics()
print(metrics_json)

# Get specific metrics
failed_events = get_failed_events()
slow_events = get_slow_events(threshold_seconds=2.0)
retry_stats = get_retry_stats()

print("failed: ", [(event.event_name, event.error) for event in failed_events])
print("slow:   ", [(event.event_name, round(event.duration or 0, 1)) for event in slow_events])
print("retries:", retry_stats.total_retries, "recovered:", retry_stats.recovered)

# 3 apples shipped
# 12 pears shipped
# skipped: invalid literal for int() with base 10: 'many'
# {"schema": "volnux.telemetry/1", ... every event with its times, outcome and attempts ...}
# failed:  [('parse', "invalid literal for int() with base 10: 'many'")]
# slow:    [('take_stock', 2.1)]
# retries: 1 recovered: 1
