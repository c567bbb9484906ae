"""Hints that a deployment has changed, and the few facts by which its watchers notice it."""

import uuid
from dataclasses import dataclass

from asgiref.sync import async_to_sync
from django.db import transaction
from django.db.models import Count, Max, Sum

from deployments.models import Approval, Attempt, Event, Evidence, GatewayState
from deployments.states import TERMINAL
from hotswap.access import hints
from hotswap.core.errors import NotFound


@dataclass(frozen=True, slots=True)
class Glance:
    """Where a deployment's newest attempt stands. Two that are equal look the same.

    Attributes:
        number: of the attempt.
        weight: basis points of the candidate.
        calls: drawn calls that were counted, of both versions.
        gateways, gateways_there: that hold a route of it, and those with its newest epoch.
    """

    attempt: uuid.UUID
    number: int
    row_version: int
    phase: str
    reason: str
    held_reason: str
    step_index: int
    weight: int
    epoch: int
    is_over: bool
    events: int
    approvals: int
    calls: int
    gateways: int
    gateways_there: int


def group(deployment_id: uuid.UUID) -> str:
    """The channel layer's group of everybody who watches a deployment."""
    return f"deployment.{deployment_id.hex}"


def announce_after_commit(deployment_id: uuid.UUID) -> None:
    """Tell watchers once the transaction is done; costs nothing when it is rolled back."""
    news = {group(deployment_id): {"deployment": deployment_id.hex}}
    transaction.on_commit(lambda: async_to_sync(hints.announce)(news), robust=True)


def glance(deployment_id: uuid.UUID) -> Glance:
    """Look at the newest attempt. Raises NotFound."""
    attempt = Attempt.objects.filter(deployment=deployment_id).order_by("-number").first()
    if attempt is None:
        raise NotFound("There is no such deployment.")
    gateways = GatewayState.objects.filter(attempt=attempt)
    return Glance(
        attempt=attempt.id,
        number=attempt.number,
        row_version=attempt.row_version,
        phase=attempt.phase,
        reason=attempt.reason,
        held_reason=attempt.held_reason,
        step_index=attempt.step_index,
        weight=attempt.weight,
        epoch=attempt.epoch,
        is_over=attempt.phase in TERMINAL,
        events=Event.objects.filter(attempt=attempt).aggregate(n=Max("seq"))["n"] or 0,
        approvals=Approval.objects.filter(deployment=deployment_id).aggregate(n=Count("id"))["n"],
        calls=Evidence.objects.filter(attempt=attempt).aggregate(n=Sum("calls"))["n"] or 0,
        gateways=gateways.count(),
        gateways_there=gateways.filter(epoch=attempt.epoch).count(),
    )
