"""Deployments as rows in a phase of choice, for tests of what surrounds the machine."""

from datetime import timedelta

from deployments.models import Attempt, Deployment
from deployments.states import TERMINAL, Phase
from deployments.strategies.base import plan_document
from deployments.types import Plan, Step, Strategy
from hotswap.core import clock
from tests.integration.runners.reporting import Deployed, deploy

CANARY = Plan(
    steps=(
        Step(name="10 %", weight=1_000, hold_seconds=60),
        Step(name="100 %", weight=10_000, gate="approval"),
    )
)


def deployment(
    *,
    function: Deployed | None = None,
    alias: str = "production",
    plan: Plan = CANARY,
    strategy: Strategy = Strategy.CANARY,
    config: dict[str, object] | None = None,
    approvals_needed: int = 0,
    created_by: str = "ada",
) -> Deployment:
    """The wish to move an alias of a function from v1 to v2."""
    of = function or deploy("thumbs", versions=2)
    return Deployment.objects.create(
        function_id=of.id,
        alias=alias,
        strategy=strategy,
        config=config or {},
        plan=plan_document(plan),
        from_version_id=of.versions[0],
        from_number=1,
        to_version_id=of.versions[1],
        to_number=2,
        digest="d" * 64,
        approvals_needed=approvals_needed,
        created_by=created_by,
        created_at=clock.utc_now(),
    )


def attempt(of: Deployment, phase: Phase = Phase.OBSERVING, **fields: object) -> Attempt:
    """The next attempt of a deployment."""
    now = clock.utc_now() - timedelta(seconds=1)
    given = {
        "number": of.attempts.count() + 1,
        "weight": 1_000,
        "salt": "salt",
        "preview_key": "",
        "created_at": now,
        "started_at": now,
        "phase_since": now,
        "finished_at": now if phase in TERMINAL else None,
    }
    return Attempt.objects.create(
        deployment=of,
        function_id=of.function_id,
        alias=of.alias,
        phase=phase,
        **{**given, **fields},
    )
