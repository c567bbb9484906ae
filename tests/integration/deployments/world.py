"""A data plane of words: gateways and runners that report and acknowledge, without processes."""

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
from django.db.models import F

from deployments import selectors
from deployments.models import Attempt, Deployment
from deployments.reconcilers import attempt as reconciler
from deployments.services.commands import command_give
from deployments.services.deployments import deployment_create
from deployments.services.evidence import evidence_apply
from deployments.states import TERMINAL, Command, Phase
from hotswap import publisher
from hotswap.core import clock
from hotswap.records import table
from hotswap.records.models import RoutingEntry, TableReader
from hotswap.wire.reports import LATENCY_BUCKETS_MS, Heartbeat, InstanceState
from hotswap.wire.rollouts import (
    ArmCounts,
    EvidenceAnswer,
    EvidenceReport,
    Failure,
    SplitRoute,
    SplitState,
)
from runners.services.nodes import node_heartbeat
from tests.integration.runners.reporting import Deployed, deploy

BUCKETS = [0] * (len(LATENCY_BUCKETS_MS) + 1)


@dataclass(slots=True)
class Gateway:
    """One gateway: follows the table when it is told to, and reports."""

    name: str
    boot: str = "b1"
    seqs: Any = field(default_factory=lambda: itertools.count(1))
    in_flight: dict[int, int] = field(default_factory=dict)
    lease_ms: dict[str, int] = field(default_factory=dict)
    acked: int = 0
    dropped: dict[int, int] = field(default_factory=dict)

    def follow(self) -> None:
        """Fetch and acknowledge what is published now."""
        self.acked = table.current_revision()
        self.live()

    def live(self) -> None:
        """Be seen, with whatever it has."""
        table.reader_seen(
            role="gateway", node=self.name, acked_revision=self.acked, now=clock.utc_now()
        )

    def split(self, key: str) -> SplitRoute | None:
        row = RoutingEntry.objects.filter(key=key, revision__lte=self.acked).first()
        if row is None or not row.gateway_body:
            return None
        return msgspec.json.decode(bytes(row.gateway_body), type=SplitRoute)

    def report(
        self, key: str, arms: Iterable[ArmCounts] = (), clients: Iterable[str] = (), **changes: Any
    ) -> EvidenceAnswer:
        """Post what it holds of one split."""
        split = self.split(key)
        states = []
        if split is not None:
            has_lease = not split.is_leased or self.lease_ms.get(split.attempt, 0) > 0
            states = [
                SplitState(
                    attempt=split.attempt,
                    epoch=split.epoch,
                    has_lease=has_lease,
                    in_flight=self.in_flight,
                    clients=list(clients),
                    dropped=self.dropped,
                )
            ]
        report = EvidenceReport(self.name, self.boot, next(self.seqs), states, list(arms))
        answer = evidence_apply(
            report=msgspec.structs.replace(report, **changes), now=clock.utc_now()
        )
        self.lease_ms = dict(answer.leases)
        return answer


class World:
    """A function with versions, gateways, runners, and a clock that can be pushed on."""

    def __init__(self, versions: int = 3, gateways: int = 2, runners: int = 2) -> None:
        self.function: Deployed = deploy("thumbs", versions=versions)
        self.gateways = [Gateway(f"g{n}") for n in range(1, gateways + 1)]
        self.runners = {f"r{n}": "" for n in range(1, runners + 1)}
        self.ready: dict[str, dict[int, int]] = {}
        self.failed: dict[int, str] = {}
        self.alias = "production"

    @property
    def key(self) -> str:
        return f"split/thumbs/{self.alias}"

    def version_id(self, number: int) -> int:
        return self.function.versions[number - 1]

    def deploy(self, number: int, strategy: str = "AllAtOnce", **options: Any) -> Deployment:
        given = {"config": {}, "actor": "ada", "now": clock.utc_now(), "alias": self.alias}
        return deployment_create(
            function_name="thumbs", version=str(number), strategy=strategy, **{**given, **options}
        )

    def give(self, deployment: Deployment, command: Command, **options: Any) -> Attempt:
        given = {"actor": "eva", "now": clock.utc_now()}
        return command_give(deployment_id=deployment.id, command=command, **{**given, **options})

    def at(self, deployment: Deployment) -> Attempt:
        return selectors.attempt_current(selectors.deployment_get(deployment.id))

    def phase(self, deployment: Deployment) -> Phase:
        return Phase(self.at(deployment).phase)

    def heartbeats(self, *numbers: int) -> None:
        """Every runner is alive with one instance of these versions, or of all, or with as
        many by version as `ready` says of it."""
        wanted = numbers or range(1, len(self.function.versions) + 1)
        now = clock.utc_now()
        for name, region in self.runners.items():
            counts = self.ready.get(name) or dict.fromkeys(wanted, 1)
            instances = [
                InstanceState(f"{name}-{n}-{item}", self.version_id(n), "idle", 0, 0, 1_024)
                for n, count in counts.items()
                for item in range(count)
            ]
            node_heartbeat(
                heartbeat=Heartbeat(
                    node=name, boot="b", version="0", backend="process", enforced=["x"],
                    missing=[], runtimes=["python3.11"], instances=instances, stem_cells={},
                    queued=0, memory_total_mib=4_096, memory_free_mib=4_000, load=0.1,
                    table_revision=0, region=region, failed_starts=self.failed,
                ),
                now=now,
            )  # fmt: skip

    def live(self, **report: Any) -> None:
        """Runners beat, gateways fetch the table and report."""
        publisher.publish()
        self.heartbeats()
        for gateway in self.gateways:
            gateway.follow()
            answer = gateway.report(self.key, **report)
            if answer.leases:  # once more, with the lease of the answer before
                gateway.report(self.key)

    def tick(self, times: int = 1, **report: Any) -> None:
        """The world goes on and the machine looks, so often."""
        for _ in range(times):
            self.live(**report)
            Attempt.objects.exclude(due_at=None).update(due_at=clock.utc_now())
            reconciler.tick()

    def until(self, deployment: Deployment, *phases: Phase, times: int = 30) -> Attempt:
        """Tick until the deployment is in one of these phases."""
        wanted = phases or tuple(TERMINAL)
        for _ in range(times):
            if self.phase(deployment) in wanted:
                return self.at(deployment)
            self.tick()
        found = self.at(deployment)
        assert found.phase in wanted, f"{found.phase}: {found.reason}"
        return found

    def pass_time(self, seconds: float) -> None:
        """Push every stored moment into the past: the same as if the clock went on."""
        past = timedelta(seconds=seconds)
        moments = ("created_at", "started_at", "phase_since", "observing_since", "deadline_at",
                   "lease_until")  # fmt: skip
        Attempt.objects.update(**{name: F(name) - past for name in moments})
        TableReader.objects.update(seen_at=F("seen_at") - past)

    def pass_step(self, seconds: float = 61) -> None:
        """The observation clock shows so much more, and everything is fresh."""
        past = timedelta(seconds=seconds)
        Attempt.objects.update(observing_since=F("observing_since") - past)

    def gated(self, deployment: Deployment, index: int = 0, gate: str = "approval") -> None:
        """Put a gate behind a step of the plan."""
        plan = deployment.plan
        plan["steps"][index]["gate"] = gate
        Deployment.objects.filter(id=deployment.id).update(plan=plan)

    def arm(self, deployment: Deployment, number: int, **counts: Any) -> ArmCounts:
        """Calls of a version in the newest epoch; `bad` ones from as many clients."""
        attempt = self.at(deployment)
        bad = counts.get("bad", 0)
        minute = int(time.time() // 60)
        failures = [Failure(f"{n:016x}", "http-5xx", minute) for n in range(bad)]
        given: dict[str, Any] = {
            "attempt": attempt.id.hex, "epoch": attempt.epoch,
            "version_id": self.version_id(number), "runner": "r1", "cold": False,
            "window": int(time.time() // 10 * 10), "calls": 0, "bad": 0, "slow": 0,
            "total_us": 1_000, "buckets": BUCKETS, "failures": failures,
        }  # fmt: skip
        return ArmCounts(**{**given, **counts})

    def serve(
        self, deployment: Deployment, gateway: int = 0, **by_version: tuple[int, int]
    ) -> None:
        """Calls and bad ones per version: `serve(d, v2=(100, 7))`."""
        arms = [
            self.arm(deployment, int(name[1:]), calls=calls, bad=bad)
            for name, (calls, bad) in by_version.items()
        ]
        publisher.publish()
        clients = [f"{n:016x}" for n in range(4)]
        self.gateways[gateway].follow()
        self.gateways[gateway].report(self.key, arms=arms, clients=clients)

    def served(self, number: int = 1) -> None:
        """The alias serves this version already."""
        self.until(self.deploy(number), Phase.SUCCEEDED)

    def observing(self, number: int = 2, **options: Any) -> Deployment:
        """A canary of 10 %, 50 % and 100 % beside v1, with its first step on."""
        self.served()
        config = {"canaryDuration": "PT1M", "canaryPercentage": 10, "increments": [10, 50, 100]}
        config |= {"minimumCalls": 50, **options.pop("config", {})}
        deployment = self.deploy(number, "Canary", config=config, **options)
        self.until(deployment, Phase.OBSERVING)
        return deployment

    def alias_number(self) -> int | None:
        from deployments.services.observation import alias_now
        from functions import selectors as functions

        function = functions.function_get(name="thumbs")
        return alias_now(function=function, alias=self.alias).number

    def split(self) -> SplitRoute | None:
        publisher.publish()
        gateway = Gateway("reader", acked=table.current_revision())
        return gateway.split(self.key)
