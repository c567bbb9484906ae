"""Rules of an environment as values, and what a hook or channel must look like."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from deployments.sources.outbound import masked, url_checked
from deployments.types import Concurrency, OnInconclusive
from hotswap.core.errors import InvalidInput

HOOKS_MAX: Final = 20
CHANNELS_MAX: Final = 20
HOOK_TIMEOUT_SECONDS: Final = (1.0, 30.0)
HOOK_DEADLINE_SECONDS: Final = (5.0, 86_400.0)
APPROVAL_SECONDS: Final = (60, 30 * 86_400)
_ADDRESS: Final = re.compile(r"[^@\s,;<>\"]{1,64}@[^@\s,;<>\"]{1,190}")


class HookKind(StrEnum):
    """When a hook is called. The confirm kinds and pre-rollout are waited for."""

    CONFIRM_ROLLOUT = "confirm-rollout"
    PRE_ROLLOUT = "pre-rollout"
    ROLLOUT = "rollout"
    CONFIRM_TRAFFIC_INCREASE = "confirm-traffic-increase"
    CONFIRM_PROMOTION = "confirm-promotion"
    POST_ROLLOUT = "post-rollout"
    ROLLBACK = "rollback"
    EVENT = "event"


class Notice(StrEnum):
    """What people can be told of."""

    STARTED = "started"
    NEEDS_APPROVAL = "needs-approval"
    HELD = "held"
    ROLLED_BACK = "rolled-back"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    ROLLBACK_STUCK = "rollback-stuck"


class ChannelKind(StrEnum):
    """How people are told."""

    WEBHOOK = "webhook"
    SLACK = "slack"
    EMAIL = "email"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A program that is called, and how long it may take.

    Attributes:
        timeout_seconds: for one try.
        deadline_seconds: for all tries together; then the answer is "late".
    """

    kind: HookKind
    url: str
    timeout_seconds: float = 10.0
    deadline_seconds: float = 300.0

    def document(self, *, is_masked: bool = False) -> dict[str, object]:
        """As the API spells it; masked without the URL's path."""
        return {
            "kind": str(self.kind),
            "url": masked(self.url) if is_masked else self.url,
            "timeoutSeconds": self.timeout_seconds,
            "deadlineSeconds": self.deadline_seconds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Where people are told of `events`."""

    kind: ChannelKind
    target: str
    events: tuple[Notice, ...] = tuple(Notice)

    def document(self, *, is_masked: bool = False) -> dict[str, object]:
        """As the API spells it; masked without the URL's path."""
        is_hidden = is_masked and self.kind is not ChannelKind.EMAIL
        return {
            "kind": str(self.kind),
            "target": masked(self.target) if is_hidden else self.target,
            "events": [str(event) for event in self.events],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for every deployment to one environment; defaults are `for_name`'s.

    Attributes:
        approvals_needed: persons, not counting the one who made the deployment.
        approval_seconds: how long a deployment waits for them before it is cancelled.
        on_inconclusive: what follows at the end of a step's time without a decision;
            EXTEND gives it again `extensions` times, and then `after_extensions` follows.
        stable_unhealthy: "prefer-candidate" or "hold".
        secret_generation: names the secret that signs hooks.
    """

    name: str
    concurrency: Concurrency
    on_inconclusive: OnInconclusive
    after_extensions: OnInconclusive
    extensions: int = 2
    approvals_needed: int = 0
    approval_seconds: int = 7 * 86_400
    stable_unhealthy: str = "hold"
    hooks: tuple[Hook, ...] = ()
    notify: tuple[Channel, ...] = ()
    secret_generation: int = 1

    @classmethod
    def for_name(cls, name: str) -> "Rules":
        """What holds where nobody said anything: strict for production, quick elsewhere."""
        if name == "production":
            return cls(
                name=name,
                concurrency=Concurrency.QUEUE,
                on_inconclusive=OnInconclusive.EXTEND,
                after_extensions=OnInconclusive.HOLD,
            )
        return cls(
            name=name,
            concurrency=Concurrency.SUPERSEDE,
            on_inconclusive=OnInconclusive.PROMOTE,
            after_extensions=OnInconclusive.PROMOTE,
        )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads members of one JSON object and names what is wrong by its path."""

    path: str
    given: Mapping[str, Any]
    known: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, item: object, path: str, known: tuple[str, ...]) -> "_Reader":
        if not isinstance(item, Mapping):
            raise InvalidInput(f"{path}: This must be an object.")
        if unknown := sorted(set(item) - set(known)):
            raise InvalidInput(f"{path}.{unknown[0]}: Unknown; there are {', '.join(known)}.")
        return cls(path, item, known)

    def name(self, member: str, names: type[StrEnum]) -> Any:
        value = self.given.get(member)
        if value not in list(names):
            raise InvalidInput(f"{self.path}.{member}: One of {', '.join(names)}.")
        return names(value)

    def number(self, member: str, default: float, bounds: tuple[float, float]) -> float:
        value = self.given.get(member, default)
        least, most = bounds
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidInput(f"{self.path}.{member}: A number of seconds.")
        if not least <= value <= most:
            raise InvalidInput(f"{self.path}.{member}: From {least:g} to {most:g} seconds.")
        return float(value)


def hooks_checked(given: object) -> tuple[Hook, ...]:
    """Hooks from their JSON form; raises InvalidInput with the member's path."""
    hooks: list[Hook] = []
    for path, item in _items(given, "hooks", HOOKS_MAX):
        read = _Reader.of(item, path, ("kind", "url", "timeoutSeconds", "deadlineSeconds"))
        hook = Hook(
            kind=read.name("kind", HookKind),
            url=url_checked(read.given.get("url"), field_name=f"{path}.url"),
            timeout_seconds=read.number("timeoutSeconds", 10.0, HOOK_TIMEOUT_SECONDS),
            deadline_seconds=read.number("deadlineSeconds", 300.0, HOOK_DEADLINE_SECONDS),
        )
        if any((hook.kind, hook.url) == (other.kind, other.url) for other in hooks):
            raise InvalidInput(f"{path}: This URL is listed twice for {hook.kind}.")
        hooks.append(hook)
    return tuple(hooks)


def channels_checked(given: object, *, can_mail: bool) -> tuple[Channel, ...]:
    """Channels from their JSON form.

    Args:
        can_mail: whether a mail server is configured; without one e-mail is refused here,
            not when it is too late.

    Raises:
        InvalidInput: with the member's path.
    """
    channels: list[Channel] = []
    for path, item in _items(given, "notify", CHANNELS_MAX):
        read = _Reader.of(item, path, ("kind", "target", "events"))
        kind = read.name("kind", ChannelKind)
        channels.append(
            Channel(
                kind=kind,
                target=_target(kind, read.given.get("target"), path, can_mail=can_mail),
                events=_events(read.given.get("events"), path),
            )
        )
    return tuple(channels)


def _items(given: object, path: str, most: int) -> list[tuple[str, object]]:
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) > most:
        raise InvalidInput(f"{path}: A list of at most {most}.")
    return [(f"{path}.{index}", item) for index, item in enumerate(given)]


def _target(kind: ChannelKind, target: object, path: str, *, can_mail: bool) -> str:
    if kind is not ChannelKind.EMAIL:
        return url_checked(target, field_name=f"{path}.target")
    if not can_mail:
        raise InvalidInput(f"{path}.kind: No mail server is configured; set HOTSWAP_EMAIL_HOST.")
    if not isinstance(target, str) or not _ADDRESS.fullmatch(target):
        raise InvalidInput(f"{path}.target: One e-mail address, such as team@example.org.")
    return target


def _events(given: object, path: str) -> tuple[Notice, ...]:
    if given is None:
        return tuple(Notice)
    if not isinstance(given, list) or not given or not all(item in list(Notice) for item in given):
        raise InvalidInput(f"{path}.events: A list of {', '.join(Notice)}; leave it out for all.")
    return tuple(notice for notice in Notice if notice in given)
