"""One try at a deployment, and everything that happened to it."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from deployments.models.deployment import Deployment
from deployments.states import TERMINAL, Held, Phase
from hotswap.core.limits import BASIS_POINTS

_OVER = sorted(TERMINAL)  # a set's order would make every migration another


class Attempt(models.Model):
    """Where a deployment stands. Changed under its row lock only, by the database's clock.

    Attributes:
        function, alias: of the deployment, repeated for the index that allows one at a time.
        step_index: the step of the plan that is on now.
        epoch: rises with every change of the route; gateways take only larger ones.
        weight, runner_weights: the route in force (`hotswap.wire.rollouts.SplitRoute`).
        routes: epoch -> `{"step", "shares"}`: the step it belongs to ("promoted" after the
            last) and the chance of a call to be drawn for the candidate, by region.
        warm: version number -> instances that every runner keeps ready.
        wants_room: while it is queued, an attempt that runs makes room for it.
        phase_since: when this phase began.
        observing_since: when the last gateway acknowledged the step; None: clock stands.
        observed_seconds: what the clock had before it last stood.
        deadline_at: when this phase must have moved on; None: no deadline.
        held_from: the phase to go back to.
        due_at: when the reconciler must look next; None: never by itself.
        lease_until: how long gateways may split without a living judge.
        superseded_by: the attempt that this one makes room for.
        verdict: the newest judgement with its arithmetic (`analysis.verdict.Judgement`).
        receipt: at the end: sent, answered, dropped by version, durations.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    deployment = models.ForeignKey(Deployment, models.CASCADE, related_name="attempts")
    number = models.PositiveSmallIntegerField()
    function = models.ForeignKey("functions.Function", models.CASCADE, related_name="+")
    alias = models.CharField(max_length=64)

    phase = models.CharField(
        max_length=20, choices=[(p, p) for p in Phase], default=Phase.QUEUED, db_index=True
    )
    reason = models.CharField(max_length=1_000, blank=True)
    step_index = models.PositiveSmallIntegerField(default=0)
    held_reason = models.CharField(max_length=20, blank=True, choices=[(h, h) for h in Held])
    held_from = models.CharField(max_length=20, blank=True)
    gates_passed = ArrayField(models.CharField(max_length=64), default=list)
    extensions = models.PositiveSmallIntegerField(default=0)

    epoch = models.PositiveIntegerField(default=0)
    weight = models.PositiveIntegerField(default=0)
    runner_weights = models.JSONField(default=dict)
    routes = models.JSONField(default=dict)
    warm = models.JSONField(default=dict)
    wants_room = models.BooleanField(default=False)
    salt = models.CharField(max_length=32)
    preview_key = models.CharField(max_length=64)
    slow_ms = models.PositiveIntegerField(default=0)
    clients = ArrayField(models.CharField(max_length=16), default=list)

    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    phase_since = models.DateTimeField()
    observing_since = models.DateTimeField(null=True)
    observed_seconds = models.FloatField(default=0.0)
    deadline_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    superseded_by = models.ForeignKey("self", models.SET_NULL, related_name="supersedes", null=True)
    verdict = models.JSONField(default=dict)
    receipt = models.JSONField(default=dict)
    row_version = models.PositiveIntegerField(default=1)

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="attempt_due"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["deployment", "number"], name="attempt_number"),
            # Waiting attempts may be many; one at a time may touch the route.
            models.UniqueConstraint(
                fields=["function", "alias"],
                condition=~Q(phase__in=[*_OVER, Phase.QUEUED]),
                name="attempt_one_active",
            ),
            models.CheckConstraint(condition=Q(weight__lte=BASIS_POINTS), name="attempt_weight"),
            models.CheckConstraint(
                condition=Q(phase__in=_OVER, finished_at__isnull=False)
                | (~Q(phase__in=_OVER) & Q(finished_at__isnull=True)),
                name="attempt_finished",
            ),
            models.CheckConstraint(
                condition=Q(held_reason="") | Q(phase=Phase.HELD), name="attempt_held"
            ),
            models.CheckConstraint(
                condition=Q(phase_since__gte=F("created_at")), name="attempt_order"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.phase}"


class Event(models.Model):
    """What happened to an attempt, who did it and why. Append-only; each names the one before."""

    attempt = models.ForeignKey(Attempt, models.CASCADE, related_name="events")
    seq = models.PositiveIntegerField()
    at = models.DateTimeField()
    actor = models.CharField(max_length=150, help_text='a user name, or "hotswap"')
    kind = models.CharField(max_length=40, help_text='"phase", or a name such as "hook.answered"')
    from_phase = models.CharField(max_length=20, blank=True)
    to_phase = models.CharField(max_length=20, blank=True)
    reason = models.CharField(max_length=1_000, blank=True)
    detail = models.JSONField(default=dict)
    previous_sha256 = models.CharField(max_length=64, blank=True)
    sha256 = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["attempt", "seq"], name="event_seq")]

    def __str__(self) -> str:
        return f"{self.attempt_id} #{self.seq} {self.kind}"
