"""The gateway's metrics in Prometheus text form."""

from collections.abc import Iterator, Sequence

from runners.gateway.splits import Split
from runners.gateway.stats import Stats


def render(
    stats: Stats,
    *,
    revision: int,
    table_age: float,
    connections: int,
    in_flight: int,
    functions: int,
    splits: Sequence[Split],
) -> bytes:
    """One scrape. `table_age`: seconds since the control plane last answered, -1 for never."""
    lines = [
        *_gauge("hotswap_table_revision", "Number of the routing table in use.", revision),
        *_gauge("hotswap_table_age_seconds", "Since the control plane answered.", table_age),
        *_gauge("hotswap_gateway_connections", "Open client connections.", connections),
        *_gauge("functions_concurrent_executions", "Invocations in flight.", in_flight),
        *_gauge("functions_count", "Functions that can be invoked.", functions),
        *_invocations(stats),
        *_splits(splits),
    ]
    return ("\n".join(lines) + "\n").encode()


def _gauge(name: str, help_text: str, value: float) -> Iterator[str]:
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} gauge"
    yield f"{name} {value}"


def _invocations(stats: Stats) -> Iterator[str]:
    yield "# HELP functions_invocations_total Invocations by outcome."
    yield "# TYPE functions_invocations_total counter"
    for item in stats:
        labels = f'function="{item.function}",version_id="{item.version_id}"'
        outcomes = item.total_outcomes.keys() | item.outcomes.keys()
        for outcome in sorted(outcomes):
            calls = item.total_outcomes.get(outcome, 0) + item.outcomes.get(outcome, 0)
            yield f'functions_invocations_total{{{labels},outcome="{outcome}"}} {calls}'
    yield "# HELP functions_invocations_cold_start_total Invocations that waited for an instance."
    yield "# TYPE functions_invocations_cold_start_total counter"
    for item in stats:
        labels = f'function="{item.function}",version_id="{item.version_id}"'
        yield f"functions_invocations_cold_start_total{{{labels}}} {item.total_cold + item.cold}"


def _splits(splits: Sequence[Split]) -> Iterator[str]:
    if not splits:
        return
    yield "# HELP hotswap_split_epoch Newest epoch of a rollout's route here."
    yield "# TYPE hotswap_split_epoch gauge"
    for split in splits:
        yield f'hotswap_split_epoch{{attempt="{split.attempt}"}} {split.epoch}'
    yield "# HELP hotswap_split_lease_seconds Left of a rollout's lease; +Inf needs none."
    yield "# TYPE hotswap_split_lease_seconds gauge"
    for split in splits:
        seconds = split.lease_seconds
        value = f"{seconds:.3f}" if seconds != float("inf") else "+Inf"
        yield f'hotswap_split_lease_seconds{{attempt="{split.attempt}"}} {value}'
