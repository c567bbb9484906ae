"""Ask for deployments, or for what one would do."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from deployments.models import Attempt, Deployment
from deployments.services.clock import database_now
from deployments.services.digests import digest_of
from deployments.services.environments import Rules, environment_rules
from deployments.services.events import event_append
from deployments.services.freezes import freeze_now
from deployments.services.observation import AliasNow, alias_now
from deployments.states import TERMINAL, Phase
from deployments.strategies.base import (
    PlanDefaults,
    compile_plan,
    plan_document,
    plan_load,
    strategy_named,
)
from deployments.types import Concurrency, Fleet, Plan, Strategy
from functions import selectors as functions
from functions.checks import check_alias_name
from functions.services import holds
from hotswap.core.errors import Conflict, InvalidInput
from hotswap.jobs import Job, enqueue_on_commit
from hotswap.records import services as records
from runners.selectors import nodes

MESSAGE_MAX: Final = 500


def holder_of(deployment: Deployment) -> str:
    """What pins and holds call a deployment."""
    return f"deployment {deployment.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a deployment would do if it were asked for now.

    Attributes:
        from_number: None when the alias serves nothing.
        outcome: "start", "queue", "supersede", "approval", "freeze" or "refuse".
        sentence: the same for people.
        other: id of the deployment in the way; "" none.
        approvals_needed: persons who would have to agree before it starts.
    """

    plan: Plan
    alias: str
    from_number: int | None
    to_number: int
    outcome: str
    sentence: str
    other: str = ""
    approvals_needed: int = 0


@dataclass(frozen=True, slots=True)
class _Asked:
    """A checked request."""

    function: Any
    version: Any
    strategy: Strategy
    plan: Plan
    stable: AliasNow
    rules: Rules
    running: Attempt | None


@transaction.atomic
def deployment_create(
    *,
    function_name: str,
    version: str,
    strategy: Strategy | str,
    config: Mapping[str, object],
    alias: str = "production",
    message: str = "",
    reversible: bool = True,
    actor: str,
    now: datetime,
) -> Deployment:
    """Ask for an alias to serve another version. It starts with the next look of the machine.

    While another deployment runs on the alias, the environment decides: wait for it, take its
    place, or be refused.

    Args:
        version: "v3", "3" or "$LATEST".

    Raises:
        NotFound: no such function or version.
        InvalidInput: a setting, the message or the alias's name.
        Conflict: the alias serves this version already, is divided by hand, or another
            deployment runs where the environment allows one at a time.
    """
    return _create(
        function_name=function_name,
        version=version,
        strategy=strategy,
        config=config,
        alias=alias,
        message=message,
        reversible=reversible,
        actor=actor,
        now=now,
        is_rollback=False,
    )


@transaction.atomic
def deployment_roll_back(*, deployment: Deployment, actor: str, now: datetime) -> Deployment:
    """Bring back what a finished deployment replaced: all at once, past freezes and approvals.

    Raises:
        Conflict: the alias serves something else by now, or another deployment runs.
        NotFound: the old version was deleted meanwhile.
    """
    alias = alias_now(function=deployment.function, alias=deployment.alias)
    if alias.number != deployment.to_number:
        raise Conflict(
            f"{deployment.alias} does not serve v{deployment.to_number} any more; "
            "make a deployment of the version you want."
        )
    return _create(
        function_name=deployment.function.name,
        version=str(deployment.from_number),
        strategy=Strategy.ALL_AT_ONCE,
        config={},
        alias=deployment.alias,
        message=f"Rollback of deployment {deployment.id}",
        reversible=True,
        actor=actor,
        now=now,
        is_rollback=True,
    )


def deployment_preview(
    *,
    function_name: str,
    version: str,
    strategy: Strategy | str,
    config: Mapping[str, object],
    alias: str = "production",
    message: str = "",
    reversible: bool = True,
    actor: str,
    now: datetime,
) -> Preview:
    """What `deployment_create` would do with the same arguments now. Writes nothing.

    Raises:
        NotFound, InvalidInput: as `deployment_create`; what would be a Conflict is told.
    """
    asked = _asked(function_name, version, strategy, config, alias, message, now)
    outcome, sentence = _outcome(asked, alias, now)
    return Preview(
        plan=asked.plan,
        alias=alias,
        from_number=asked.stable.number,
        to_number=asked.version.number,
        outcome=outcome,
        sentence=sentence,
        other=str(asked.running.deployment_id) if asked.running else "",
        approvals_needed=asked.rules.approvals_needed,
    )


def attempt_create(*, deployment: Deployment, wants_room: bool, now: datetime) -> Attempt:
    """The next attempt at a deployment: a new salt, a new key for previews, no evidence.

    Its version is pinned from here on: it must not be deleted while the attempt is queued.

    Raises:
        NotFound: the version was deleted since the last attempt.
    """
    function = functions.function_lock(name=deployment.function.name)
    functions.version_get(function=function, version=str(deployment.to_number))
    holds.versions_pin(
        version_ids=[deployment.to_version_id], holder=holder_of(deployment), now=now
    )
    number = deployment.attempts.count() + 1
    plan = plan_load(deployment.plan)
    attempt = Attempt.objects.create(
        deployment=deployment,
        number=number,
        function=deployment.function,
        alias=deployment.alias,
        phase=Phase.QUEUED,
        wants_room=wants_room,
        salt=secrets.token_hex(16),
        preview_key=secrets.token_urlsafe(24),
        slow_ms=plan.limits.slow_ms or 0,
        created_at=now,
        phase_since=now,
        due_at=now,
    )
    enqueue_on_commit(Job.DEPLOYMENTS_RECONCILE, key=attempt.id.hex)
    return attempt


def _create(
    *,
    function_name: str,
    version: str,
    strategy: Strategy | str,
    config: Mapping[str, object],
    alias: str,
    message: str,
    reversible: bool,
    actor: str,
    now: datetime,
    is_rollback: bool,
) -> Deployment:
    functions.function_lock(name=function_name)
    asked = _asked(function_name, version, strategy, config, alias, message, now)
    outcome, sentence = _outcome(asked, alias, now)
    if outcome == "refuse":
        others = {"deployment": str(asked.running.deployment_id)} if asked.running else {}
        raise Conflict(sentence, **others)
    moment = database_now()
    deployment = Deployment(
        function=asked.function,
        alias=alias,
        strategy=asked.strategy,
        config=dict(config),
        plan=plan_document(asked.plan),
        from_version_id=asked.stable.version_id,
        from_number=asked.stable.number,
        to_version_id=asked.version.id,
        to_number=asked.version.number,
        reversible=reversible,
        is_rollback=is_rollback,
        message=message,
        approvals_needed=0 if is_rollback else asked.rules.approvals_needed,
        created_by=actor,
        created_at=moment,
    )
    deployment.digest = digest_of(deployment)
    deployment.save(force_insert=True)
    wants_room = is_rollback or asked.rules.concurrency is Concurrency.SUPERSEDE
    attempt = attempt_create(deployment=deployment, wants_room=wants_room, now=moment)
    _record(deployment, attempt, actor=actor, now=moment)
    return deployment


def _record(deployment: Deployment, attempt: Attempt, *, actor: str, now: datetime) -> None:
    detail: dict[str, object] = {
        "deployment": str(deployment.id),
        "alias": deployment.alias,
        "strategy": str(deployment.strategy),
        "from": deployment.from_number,
        "to": deployment.to_number,
        "digest": deployment.digest,
    }
    event_append(
        attempt=attempt,
        kind="created",
        actor=actor,
        at=now,
        reason=deployment.message,
        to_phase=Phase.QUEUED,
        detail=detail,
    )
    records.audit_append(
        verb="deployment.create",
        subject=f"function/{deployment.function.name}",
        actor=actor,
        at=now,
        detail=detail,
    )


def _asked(
    function_name: str,
    version: str,
    strategy: Strategy | str,
    config: Mapping[str, object],
    alias: str,
    message: str,
    now: datetime,
) -> _Asked:
    check_alias_name(alias)
    if len(message) > MESSAGE_MAX or "\0" in message:
        raise InvalidInput(f"message: It may have at most {MESSAGE_MAX} characters, none NUL.")
    function = functions.function_get(name=function_name)
    wanted = functions.version_get(function=function, version=version)
    rules = environment_rules(name=alias)
    stable = alias_now(function=function, alias=alias)
    named = strategy if isinstance(strategy, Strategy) else strategy_named(strategy)
    plan = compile_plan(
        strategy=named,
        config=config,
        fleet=Fleet({runner.name: runner.region for runner in nodes.runners_live(now=now)}),
        function_timeout_seconds=wanted.timeout_seconds,
        is_idempotent=function.is_idempotent,
        defaults=PlanDefaults(
            on_inconclusive=rules.on_inconclusive,
            after_extensions=rules.after_extensions,
            extensions=rules.extensions,
        ),
        stable=stable.number,
        candidate=wanted.number,
    )
    running = (
        Attempt.objects.filter(function_id=function.id, alias=alias)
        .exclude(phase__in=TERMINAL)
        .order_by("created_at")
        .first()
    )
    return _Asked(function, wanted, named, plan, stable, rules, running)


def _outcome(asked: _Asked, alias: str, now: datetime) -> tuple[str, str]:
    """What would become of the request: a word, and a sentence."""
    number = asked.version.number
    if asked.stable.is_split:
        return "refuse", f"{alias} is divided by hand; lead it to one version first."
    if asked.running is not None:
        return _beside(asked, alias)
    if asked.stable.number == number:
        return "refuse", f"{alias} serves v{number} already."
    if window := freeze_now(environment=alias, now=now):
        return "freeze", f"It starts when the freeze is over: {window.reason}"
    if needed := asked.rules.approvals_needed:
        return "approval", f"It waits for {needed} approval{'s' if needed > 1 else ''} first."
    return "start", "It starts at once."


def _beside(asked: _Asked, alias: str) -> tuple[str, str]:
    assert asked.running is not None
    other = asked.running.deployment_id
    if asked.rules.concurrency is Concurrency.REJECT:
        return "refuse", f"Deployment {other} runs on {alias}; only one at a time is allowed."
    if asked.rules.concurrency is Concurrency.SUPERSEDE:
        return "supersede", f"It takes the place of deployment {other}, which is rolled back first."
    return "queue", f"It waits for deployment {other}."
