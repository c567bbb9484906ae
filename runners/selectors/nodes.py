"""Runners and the instances on them, as their heartbeats describe them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from functions import selectors as functions
from hotswap.core.errors import NotFound
from hotswap.records import table
from hotswap.wire.reports import InstanceState
from runners.models import RunnerNode
from runners.types import InstanceRow, LiveRunner, NodeRow, NodeState

ONLINE_WITHIN = timedelta(seconds=10)
_MEMORY_LOW = 0.1
_READY = frozenset({"idle", "frozen", "busy"})


def node_list(*, now: datetime) -> list[NodeRow]:
    """All runners by name."""
    return _rows(RunnerNode.objects.order_by("name"), now)


def node_get(*, name: str, now: datetime) -> NodeRow:
    """One runner; raises NotFound."""
    rows = _rows(RunnerNode.objects.filter(name=name), now)
    if not rows:
        raise NotFound(f"There is no runner {name}; it is listed from its first heartbeat on.")
    return rows[0]


def instance_list(*, function: str | None = None, now: datetime) -> list[InstanceRow]:
    """Instances on runners that are alive: of one function, or of all."""
    return [
        instance
        for node in node_list(now=now)
        if node.state is not NodeState.OFFLINE
        for instance in node.instances
        if function in (None, instance.function)
    ]


def runners_live(*, now: datetime) -> list[LiveRunner]:
    """Runners that report and take calls, by name. One that is about to end is not among them."""
    nodes = RunnerNode.objects.filter(seen_at__gte=now - ONLINE_WITHIN, is_draining=False)
    return [_live(node) for node in nodes.order_by("name")]


def _live(node: RunnerNode) -> LiveRunner:
    instances = node.instances
    return LiveRunner(
        name=node.name,
        region=node.region,
        ready=Counter(item["versionId"] for item in instances if item["state"] in _READY),
        failed_starts={int(version): why for version, why in node.failed_starts.items()},
        instances_memory_mib=round(sum(item["memoryKib"] for item in instances) / 1024, 1),
        memory_total_mib=node.memory_total_mib,
        memory_free_mib=node.memory_free_mib,
        load=node.load,
    )


def is_online(*, node: RunnerNode, now: datetime) -> bool:
    """Whether the runner reported within the last 10 seconds; it does so every 2."""
    return now - node.seen_at <= ONLINE_WITHIN


def _rows(nodes: Iterable[RunnerNode], now: datetime) -> list[NodeRow]:
    found = list(nodes)
    ids = {item["versionId"] for node in found for item in node.instances}
    labels = functions.version_labels(ids=list(ids)) if ids else {}
    revision, acked = table.current_revision(), table.revisions_acked(role="runner")
    return [_row(node, labels, revision - acked.get(node.name, 0), now) for node in found]


def _row(
    node: RunnerNode, labels: Mapping[int, tuple[str, int]], behind: int, now: datetime
) -> NodeRow:
    state, reasons = _judged(node, behind, now)
    return NodeRow(
        name=node.name,
        region=node.region,
        state=state,
        reasons=reasons,
        seen_at=node.seen_at,
        seen_seconds_ago=round((now - node.seen_at).total_seconds(), 1),
        started_at=node.started_at,
        release=node.version,
        backend=node.backend,
        enforced=node.enforced,
        missing=node.missing,
        runtimes=node.runtimes,
        stem_cells=node.stem_cells,
        instances=tuple(_instances(node, labels)),
        queued=node.queued,
        memory_total_mib=node.memory_total_mib,
        memory_free_mib=node.memory_free_mib,
        load=node.load,
        table_revision=node.table_revision,
    )


def _judged(node: RunnerNode, behind: int, now: datetime) -> tuple[NodeState, tuple[str, ...]]:
    if not is_online(node=node, now=now):
        seconds = int((now - node.seen_at).total_seconds())
        return NodeState.OFFLINE, (f"It has not reported for {seconds} s.",)
    reasons = tuple(_worries(node, behind))
    return (NodeState.DEGRADED if reasons else NodeState.ONLINE), reasons


def _worries(node: RunnerNode, behind: int) -> Iterator[str]:
    if node.is_draining:
        yield "It is stopping: it finishes its calls and takes no new ones."
    if not node.enforced:
        yield f"The {node.backend} backend isolates nothing; use it for development only."
    if not node.runtimes:
        yield "It can run no runtime: none of their interpreters or images was found."
    if node.memory_free_mib < node.memory_total_mib * _MEMORY_LOW:
        yield f"Only {node.memory_free_mib} MiB of its {node.memory_total_mib} MiB are free."
    if behind > 1:
        yield f"It is {behind} revisions of the routing table behind."


def _instances(node: RunnerNode, labels: Mapping[int, tuple[str, int]]) -> Iterator[InstanceRow]:
    for item in msgspec.convert(node.instances, list[InstanceState]):
        function, number = labels.get(item.version_id, ("", 0))
        yield InstanceRow(
            id=item.id,
            node=node.name,
            function=function,
            version=number,
            state=item.state,
            started_at=datetime.fromtimestamp(item.started_ms / 1000, UTC),
            invocations=item.invocations,
            memory_mib=round(item.memory_kib / 1024, 1),
            cpu_percent=item.cpu_percent,
        )
