"""Hooks: programs that an environment wants called, and what they answered."""

from datetime import datetime
from typing import Literal

from deployments.models import Attempt, Effect
from deployments.rules import HookKind
from deployments.services import effects
from deployments.services.environments import environment_rules

HookAnswer = Literal["pending", "ok", "refused", "late", "none"]

_WORST_FIRST: tuple[tuple[str, HookAnswer], ...] = (
    (Effect.State.REFUSED, "refused"),
    (Effect.State.FAILED, "late"),
    (Effect.State.PENDING, "pending"),
    (Effect.State.DONE, "ok"),
)


def want(*, attempt: Attempt, kind: str, gate: str = "", now: datetime) -> int:
    """Have every hook of this kind called, in the caller's transaction.

    Wanting the same again is harmless: an occasion is the kind, the gate and the step; for
    the kinds "rollback" and "event" it is the moment the phase began.

    Args:
        kind: a `HookKind`.
        gate: what their answers open; "" when nobody waits.

    Returns:
        How many hooks the environment has of this kind.
    """
    wanted = HookKind(kind)
    hooks = [hook for hook in environment_rules(name=attempt.alias).hooks if hook.kind is wanted]
    for hook in hooks:
        body = {"event": str(wanted), "at": now.isoformat(), **effects.facts_of(attempt)}
        effects.effect_want(
            attempt=attempt,
            kind=effects.HOOK + wanted,
            target=hook.url,
            occasion=_occasion(attempt, wanted),
            payload={"timeoutSeconds": hook.timeout_seconds, "body": body},
            now=now,
            deadline_seconds=hook.deadline_seconds,
            gate=gate,
        )
    return len(hooks)


def answer_of(*, attempt: Attempt, gate: str) -> HookAnswer:
    """What the hooks of a gate said together: one "no" outweighs every "yes"."""
    states = set(
        Effect.objects.filter(attempt=attempt, gate=gate, kind__startswith=effects.HOOK)
        .values_list("state", flat=True)
        .distinct()
    )
    return next((answer for state, answer in _WORST_FIRST if state in states), "none")


def _occasion(attempt: Attempt, kind: HookKind) -> str:
    if kind in (HookKind.ROLLBACK, HookKind.EVENT):
        return f"{attempt.phase} {attempt.phase_since.isoformat()}"
    return f"step {attempt.step_index}"
