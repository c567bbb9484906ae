"""Notifications: people are told by webhook, chat or e-mail what happened to a deployment."""

from datetime import datetime
from typing import Final

from deployments.models import Attempt
from deployments.rules import Channel, ChannelKind, Notice
from deployments.services import effects
from deployments.services.environments import environment_rules
from hotswap import config

DEADLINE_SECONDS: Final = 3_600.0
"""A message that could not be delivered for an hour is given up: by then it misleads."""

_SENTENCES: Final = {
    Notice.STARTED: "has started",
    Notice.NEEDS_APPROVAL: "waits for approval",
    Notice.HELD: "is held",
    Notice.ROLLED_BACK: "was rolled back",
    Notice.SUCCEEDED: "has succeeded",
    Notice.FAILED: "has failed; the old version serves all calls",
    Notice.SUPERSEDED: "made room for a newer one",
    Notice.ROLLBACK_STUCK: "cannot be rolled back: not every gateway has answered",
}


def want(*, attempt: Attempt, event: str, now: datetime) -> int:
    """Have people told, in the caller's transaction. The same event of a phase is told once.

    Args:
        event: a `Notice`.

    Returns:
        How many channels want it.
    """
    notice = Notice(event)
    rules = environment_rules(name=attempt.alias)
    channels = [channel for channel in rules.notify if notice in channel.events]
    for channel in channels:
        effects.effect_want(
            attempt=attempt,
            kind=effects.NOTIFY + channel.kind,
            target=channel.target,
            occasion=f"{notice} {attempt.phase} {attempt.phase_since.isoformat()}",
            payload=_payload(channel, notice, attempt, now),
            now=now,
            deadline_seconds=DEADLINE_SECONDS,
        )
    return len(channels)


def sentence(*, attempt: Attempt, notice: Notice) -> str:
    """Such as "thumbs, production, v4 to v5 was rolled back. Too many errors."."""
    deployment = attempt.deployment
    first = "" if deployment.from_number is None else f"v{deployment.from_number} to "
    head = f"{attempt.function.name}, {attempt.alias}, {first}v{deployment.to_number}"
    text = f"{head} {_SENTENCES[notice]}."
    return f"{text} {attempt.reason}".strip()


def _payload(
    channel: Channel, notice: Notice, attempt: Attempt, now: datetime
) -> dict[str, object]:
    text, link = sentence(attempt=attempt, notice=notice), _link(attempt)
    if channel.kind is ChannelKind.EMAIL:
        subject = f"[HotSwap] {sentence(attempt=attempt, notice=notice)}".splitlines()[0]
        return {"subject": subject[:150], "text": f"{text}\n\n{link}\n"}
    if channel.kind is ChannelKind.SLACK:
        return {"body": {"text": f"{text} {link}"}}
    facts = effects.facts_of(attempt)
    return {
        "body": {
            "event": str(notice),
            "at": now.isoformat(),
            "text": text,
            "link": link,
            **facts,
        }
    }


def _link(attempt: Attempt) -> str:
    """The deployment's page: a whole address where an operator has named the portal's origin."""
    origins = config.current().core.trusted_origins
    origin = origins[0].rstrip("/") if origins else ""
    return f"{origin}/deployments/{attempt.deployment_id}"
