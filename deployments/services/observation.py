"""What the machine needs to know of an attempt, read in one transaction by the database's clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from django.db.models import Q

from deployments.analysis.verdict import Judgement
from deployments.machine import Route, Runner, View, is_leased
from deployments.models import Attempt, Deployment, Effect, GatewayState
from deployments.services import freezes, hooks, judging, sources
from deployments.services.approvals import approval_state
from deployments.services.environments import Rules, environment_rules
from deployments.states import TERMINAL, WITH_TRAFFIC, Held, Phase
from deployments.strategies.base import plan_load
from deployments.types import Plan
from functions import selectors as functions
from hotswap.records import table
from hotswap.wire.rollouts import SplitRoute
from runners.selectors import nodes
from runners.types import LiveRunner

DRAIN_LEAST_SECONDS: Final = 30.0

_split = msgspec.json.Decoder(SplitRoute)


@dataclass(frozen=True, slots=True)
class AliasNow:
    """What an alias leads to. `number` is None where there is none; `is_split` several."""

    version_id: int | None = None
    number: int | None = None
    is_split: bool = False


def split_key(attempt: Attempt) -> str:
    """Key of the attempt's entry in the routing table."""
    return f"split/{attempt.function.name}/{attempt.alias}"


def alias_now(*, function: Any, alias: str) -> AliasNow:
    """Where an alias of a function leads now."""
    row = functions.alias_list(function=function).filter(name=alias).first()
    if row is None:
        return AliasNow()
    targets = list(row.targets.all())
    if len(targets) > 1:
        return AliasNow(is_split=True)
    return AliasNow(targets[0].version_id, targets[0].version.number)


def attempts_before(attempt: Attempt) -> Attempt | None:
    """Whom a queued attempt waits for: whoever runs on its alias, or stands before it."""
    mine = Attempt.objects.filter(function=attempt.function_id, alias=attempt.alias)
    others = mine.exclude(id=attempt.id).exclude(phase__in=TERMINAL)
    earlier = Q(phase=Phase.QUEUED, created_at__lt=attempt.created_at)
    same_moment = Q(phase=Phase.QUEUED, created_at=attempt.created_at, id__lt=attempt.id)
    return others.filter(~Q(phase=Phase.QUEUED) | earlier | same_moment).first()


def attempt_that_wants_room(attempt: Attempt) -> Attempt | None:
    """The newest queued attempt that wants this one's place."""
    mine = Attempt.objects.filter(function=attempt.function_id, alias=attempt.alias)
    newer = mine.filter(phase=Phase.QUEUED, wants_room=True, created_at__gt=attempt.created_at)
    return newer.order_by("-created_at").first()


def observe(*, attempt: Attempt, now: datetime) -> View:
    """The view of a locked attempt, loaded with its deployment and function."""
    return _Observer(attempt, now).view()


class _Observer:
    """Reads what its attempt's phase needs, and no more: this runs once a second."""

    def __init__(self, attempt: Attempt, now: datetime) -> None:
        self.attempt = attempt
        self.deployment: Deployment = attempt.deployment
        self.now = now
        self.phase = Phase(attempt.phase)
        self.plan: Plan = plan_load(self.deployment.plan)
        self.rules: Rules = environment_rules(name=attempt.alias)
        self.route = Route(attempt.weight, attempt.runner_weights)
        self.is_waiting = self.phase in (Phase.QUEUED, Phase.AWAITING_APPROVAL)

    def view(self) -> View:
        attempt, deployment = self.attempt, self.deployment
        observed = attempt.observed_seconds + self._seconds_since(attempt.observing_since)
        facts: dict[str, Any] = {
            "phase": self.phase,
            "plan": self.plan,
            "step_index": attempt.step_index,
            "held": Held(attempt.held_reason) if attempt.held_reason else None,
            "held_from": Phase(attempt.held_from) if attempt.held_from else None,
            "passed": frozenset(attempt.gates_passed),
            "extensions": attempt.extensions,
            "route": self.route,
            "is_first": deployment.from_number is None,
            "is_reversible": deployment.reversible,
            "phase_seconds": self._seconds_since(attempt.phase_since),
            "observed_seconds": observed,
            "is_clock_running": attempt.observing_since is not None,
            "is_overdue": attempt.deadline_at is not None and attempt.deadline_at <= self.now,
            "newer": self._newer(),
            "is_superseded": attempt.superseded_by_id is not None,
            "is_gone": attempt.function.deleted_at is not None,
            "freeze": self._freeze(),
            **self._words(),
        }
        if self.is_waiting:
            facts |= self._queue()
        elif self.phase not in TERMINAL:
            facts |= self._world(observed)
        return View(**facts)

    def _seconds_since(self, moment: datetime | None) -> float:
        return (self.now - moment).total_seconds() if moment else 0.0

    def _newer(self) -> str:
        newer = attempt_that_wants_room(self.attempt)
        return str(newer.deployment_id) if newer else ""

    def _freeze(self) -> str:
        if self.deployment.is_rollback:
            return ""
        window = freezes.freeze_now(environment=self.attempt.alias, now=self.now)
        if window is None:
            return ""
        return f"Deployments are frozen until {window.ends_at:%Y-%m-%d %H:%M} UTC: {window.reason}."

    def _words(self) -> dict[str, Any]:
        """What persons and hooks said."""
        facts: dict[str, Any] = {
            "approval_seconds": float(self.rules.approval_seconds),
            "prefers_candidate": self.rules.stable_unhealthy == "prefer-candidate",
        }
        at_gate = self.attempt.held_reason == Held.GATE
        if at_gate or (self.is_waiting and self.deployment.approvals_needed):
            state = approval_state(deployment=self.deployment)
            rest = "enough" if state.is_enough else "waiting"
            facts["approval"] = "rejected" if state.rejected_by else rest
        if self.rules.hooks:
            facts["hooks"] = frozenset(str(hook.kind) for hook in self.rules.hooks)
            asked = Effect.objects.filter(attempt=self.attempt).exclude(gate="")
            gates = sorted(set(asked.values_list("gate", flat=True)))
            facts["answers"] = {
                gate: hooks.answer_of(attempt=self.attempt, gate=gate) for gate in gates
            }
        return facts

    def _queue(self) -> dict[str, Any]:
        alias = alias_now(function=self.attempt.function, alias=self.attempt.alias)
        before = attempts_before(self.attempt) if self.phase is Phase.QUEUED else None
        obstacle = ""
        if before is not None:
            obstacle = f"It waits for deployment {before.deployment_id}."
        elif alias.is_split:
            obstacle = (
                f"Alias {self.attempt.alias} is divided by hand; lead it to one version first."
            )
        return {
            "obstacle": obstacle,
            "is_served": alias.number == self.deployment.to_number,
            # As many instances as stable has now may be wanted of the candidate.
            "runners": {
                runner.name: Runner(
                    runner.region, stable_ready=runner.ready.get(alias.version_id or 0, 0)
                )
                for runner in nodes.runners_live(now=self.now)
            },
        }

    def _world(self, observed: float) -> dict[str, Any]:
        attempt = self.attempt
        function = attempt.function
        candidate = functions.version_get(function=function, version=str(self.deployment.to_number))
        live = nodes.runners_live(now=self.now)
        gateways = _Gateways(attempt, self.now)
        alias = alias_now(function=function, alias=attempt.alias)
        return {
            "is_alias_moved": alias.number == self.deployment.to_number,
            "drain_seconds": max(float(candidate.timeout_seconds), DRAIN_LEAST_SECONDS),
            "runners": {runner.name: self._runner(runner) for runner in live},
            "instances_wanted": attempt.warm.get(str(self.deployment.to_number), 1),
            "failed_start": self._failed_start(live),
            **gateways.facts(is_leased=is_leased(self.route)),
            **self._judged(observed, gateways.age(), {r.name: r.region for r in live}),
        }

    def _runner(self, runner: LiveRunner) -> Runner:
        ids = self.deployment.to_version_id, self.deployment.from_version_id
        ready = [0 if pk is None else runner.ready.get(pk, 0) for pk in ids]
        return Runner(runner.region, *ready)

    def _failed_start(self, live: list[LiveRunner]) -> str:
        wanted = self.deployment.to_version_id
        return next(
            (f"{r.name}: {r.failed_starts[wanted]}" for r in live if wanted in r.failed_starts), ""
        )

    def _judged(
        self, observed: float, age: float | None, regions: Mapping[str, str]
    ) -> dict[str, Any]:
        if self.phase not in WITH_TRAFFIC:
            return {}
        standing = sources.standing(attempt=self.attempt, now=self.now)
        judgement: Judgement | None = None
        if self.route.has_traffic:
            judgement = judging.judge_attempt(
                attempt=self.attempt,
                plan=self.plan,
                age_seconds=age,
                regions=regions,
                observed_seconds=observed,
            )
        return {
            "evidence_age": age,
            "judgement": judgement,
            "sources": standing.state,
            "sources_sentence": standing.sentence,
        }


class _Gateways:
    """Live gateways, and what each last said of the attempt."""

    def __init__(self, attempt: Attempt, now: datetime) -> None:
        self._attempt = attempt
        self._now = now
        self._acked = table.readers_live(role="gateway", now=now)
        states = GatewayState.objects.filter(attempt=attempt, node__in=list(self._acked))
        self._states = {state.node: state for state in states.order_by("seen_at")}

    def age(self) -> float | None:
        """Seconds since the most silent one reported; None when one never has."""
        if not self._acked or len(self._states) < len(self._acked):
            return None
        oldest = min(state.seen_at for state in self._states.values())
        return max(0.0, (self._now - oldest).total_seconds())

    def facts(self, *, is_leased: bool) -> dict[str, Any]:
        deployment = self._attempt.deployment
        return {
            "gateways": len(self._acked),
            "is_acked": self._is_acked(),
            "has_leases": len(self._current()) == len(self._acked)
            and all(state.has_lease for state in self._current()),
            "is_lease_lost": is_leased and self._is_lease_lost(),
            "candidate_in_flight": self._in_flight(deployment.to_version_id),
            "stable_in_flight": self._in_flight(deployment.from_version_id),
        }

    def _current(self) -> list[GatewayState]:
        """States that speak of the newest epoch."""
        return [s for s in self._states.values() if s.epoch >= self._attempt.epoch]

    def _is_acked(self) -> bool:
        entry = table.published(key=split_key(self._attempt))
        if entry is None:
            return False
        revision, body = entry
        if body and not self._is_newest(_split.decode(body)):
            return False
        return all(acked >= revision for acked in self._acked.values())

    def _is_newest(self, route: SplitRoute) -> bool:
        return (route.attempt, route.epoch) == (self._attempt.id.hex, self._attempt.epoch)

    def _is_lease_lost(self) -> bool:
        until = self._attempt.lease_until
        if until is not None and until < self._now:
            return True
        return any(state.had_lease and not state.has_lease for state in self._current())

    def _in_flight(self, version_id: int | None) -> int | None:
        current = self._current()
        if len(current) < len(self._acked):
            return None
        return sum(int(state.in_flight.get(str(version_id), 0)) for state in current)
