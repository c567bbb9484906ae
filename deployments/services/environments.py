"""Rules of environments: kept where somebody set them, defaults elsewhere."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from deployments.models import Environment
from deployments.rules import (
    APPROVAL_SECONDS,
    Channel,
    Hook,
    Rules,
    channels_checked,
    hooks_checked,
)
from deployments.types import Concurrency, OnInconclusive
from functions.checks import check_alias_name
from hotswap import config
from hotswap.core.errors import InvalidInput
from hotswap.db.rows import check_unchanged
from hotswap.records import services as records

__all__ = [
    "Channel",
    "Hook",
    "Rules",
    "environment_find",
    "environment_list",
    "environment_put",
    "environment_rules",
    "hook_secret",
    "hook_secret_renew",
]

APPROVALS_MAX = 20
EXTENSIONS_MAX = 10


def can_mail() -> bool:
    """Whether a mail server is configured."""
    return bool(settings.EMAIL_HOST)


def environment_rules(*, name: str) -> Rules:
    """What holds for deployments to the alias `name`: its row, or the defaults of the name."""
    row = Environment.objects.filter(name=name).first()
    return Rules.for_name(name) if row is None else rules_of(row)


def environment_list() -> list[Environment]:
    """Environments whose rules somebody set, by name."""
    return list(Environment.objects.order_by("name"))


def environment_find(*, name: str) -> Environment | None:
    """The row of an environment; None where nobody has set any rule.

    Raises:
        InvalidInput: no alias, and so no environment, can have this name.
    """
    check_alias_name(name)
    return Environment.objects.filter(name=name).first()


def rules_of(row: Environment) -> Rules:
    """The rules that a row keeps. It was checked when it was written."""
    return Rules(
        name=row.name,
        concurrency=Concurrency(row.concurrency),
        on_inconclusive=OnInconclusive(row.on_inconclusive),
        after_extensions=OnInconclusive(row.after_extensions),
        extensions=row.extensions,
        approvals_needed=row.approvals_needed,
        approval_seconds=row.approval_seconds,
        stable_unhealthy=row.stable_unhealthy,
        hooks=hooks_checked(row.hooks),
        notify=channels_checked(row.notify, can_mail=True),
        secret_generation=row.secret_generation,
    )


@transaction.atomic(durable=True)
def environment_put(
    *,
    name: str,
    changes: dict[str, Any],
    actor: str,
    now: datetime,
    expected: Collection[str] | None = None,
) -> Environment:
    """Set an environment's rules; what `changes` leaves out gets the name's default.

    A repeat changes nothing but the row's tag. Deployments that run keep the plan they were
    made with; hooks, channels and freezes count from now on.

    Args:
        changes: fields of `Rules`; `hooks` and `notify` in their JSON form.

    Raises:
        InvalidInput: with the member's path; names of aliases only.
        StaleRow: the row is in none of the expected states.
    """
    check_alias_name(name)
    rules = _checked(name, changes)
    row = _locked(name, now)
    check_unchanged(row, expected)
    before = rules_of(row)
    _store(row, replace(rules, secret_generation=row.secret_generation), now)
    records.audit_append(
        verb="environment.update",
        subject=f"environment/{name}",
        actor=actor,
        at=now,
        detail={"before": _audited(before), "after": _audited(rules)},
    )
    return row


def hook_secret(*, name: str) -> str:
    """What signs the hooks of an environment: derived, so it is kept nowhere."""
    check_alias_name(name)
    generation = environment_rules(name=name).secret_generation
    return _secret(name, generation)


@transaction.atomic(durable=True)
def hook_secret_renew(*, name: str, actor: str, now: datetime) -> str:
    """Make the secret anew; hooks are signed with it from now on. Returns it."""
    check_alias_name(name)
    row = _locked(name, now)
    row.secret_generation += 1
    row.row_version += 1
    row.updated_at = now
    row.save(update_fields=["secret_generation", "row_version", "updated_at"])
    records.audit_append(
        verb="environment.renew-secret",
        subject=f"environment/{name}",
        actor=actor,
        at=now,
        detail={"generation": row.secret_generation},
    )
    return _secret(name, row.secret_generation)


def _secret(name: str, generation: int) -> str:
    key = config.current().core.require_secret()
    return "hsk_" + key.derive(f"hooks/{name}/{generation}").hex()


def _checked(name: str, changes: dict[str, Any]) -> Rules:
    fields = dict(changes)
    fields["hooks"] = hooks_checked(fields.get("hooks", ()))
    fields["notify"] = channels_checked(fields.get("notify", ()), can_mail=can_mail())
    rules = replace(Rules.for_name(name), **fields)
    _check_bounds("approvalsNeeded", rules.approvals_needed, (0, APPROVALS_MAX))
    _check_bounds("approvalSeconds", rules.approval_seconds, APPROVAL_SECONDS)
    _check_bounds("extensions", rules.extensions, (0, EXTENSIONS_MAX))
    if rules.after_extensions is OnInconclusive.EXTEND:
        raise InvalidInput("afterExtensions: hold, rollback or promote; extending ends there.")
    return rules


def _check_bounds(name: str, value: int, bounds: tuple[int, int]) -> None:
    least, most = bounds
    if not least <= value <= most:
        raise InvalidInput(f"{name}: From {least:,} to {most:,}.")


def _locked(name: str, now: datetime) -> Environment:
    """The environment's row, locked; made with the defaults where there is none."""
    rows = Environment.objects.select_for_update()
    row = rows.filter(name=name).first()
    if row is not None:
        return row
    try:
        with transaction.atomic():
            row = Environment(name=name, row_version=0)
            _store(row, Rules.for_name(name), now, force_insert=True)
    except IntegrityError:
        return rows.get(name=name)
    return row


def _store(row: Environment, rules: Rules, now: datetime, *, force_insert: bool = False) -> None:
    row.concurrency = rules.concurrency
    row.on_inconclusive = rules.on_inconclusive
    row.after_extensions = rules.after_extensions
    row.extensions = rules.extensions
    row.approvals_needed = rules.approvals_needed
    row.approval_seconds = rules.approval_seconds
    row.stable_unhealthy = rules.stable_unhealthy
    row.hooks = [hook.document() for hook in rules.hooks]
    row.notify = [channel.document() for channel in rules.notify]
    row.secret_generation = rules.secret_generation
    row.updated_at = now
    row.row_version += 1
    row.save(force_insert=force_insert)


def _audited(rules: Rules) -> dict[str, object]:
    """What the audit trail keeps: the path of a webhook's URL may be a password."""
    return {
        "concurrency": str(rules.concurrency),
        "onInconclusive": str(rules.on_inconclusive),
        "afterExtensions": str(rules.after_extensions),
        "extensions": rules.extensions,
        "approvalsNeeded": rules.approvals_needed,
        "approvalSeconds": rules.approval_seconds,
        "stableUnhealthy": rules.stable_unhealthy,
        "hooks": [hook.document(is_masked=True) for hook in rules.hooks],
        "notify": [channel.document(is_masked=True) for channel in rules.notify],
    }
