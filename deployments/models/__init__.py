"""Deployments, their attempts, and what was seen of them."""

from deployments.models.attempt import Attempt, Event
from deployments.models.deployment import Approval, Deployment
from deployments.models.effect import Effect
from deployments.models.environment import Environment, FreezeWindow
from deployments.models.evidence import (
    BusinessValue,
    Evidence,
    FailureSeen,
    GatewayState,
    SourceReading,
)

__all__ = [
    "Approval",
    "Attempt",
    "BusinessValue",
    "Deployment",
    "Effect",
    "Environment",
    "Event",
    "Evidence",
    "FailureSeen",
    "FreezeWindow",
    "GatewayState",
    "SourceReading",
]
