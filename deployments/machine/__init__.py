"""What an attempt does next: pure decisions over a snapshot, one per tick."""

from deployments.machine.commands import Stand, command, legal, refusal, stand, stand_of
from deployments.machine.routes import is_leased, route_of, shares
from deployments.machine.rules import decide
from deployments.machine.view import Clock, Decision, Move, Route, Runner, View

__all__ = [
    "Clock",
    "Decision",
    "Move",
    "Route",
    "Runner",
    "Stand",
    "View",
    "command",
    "decide",
    "is_leased",
    "legal",
    "refusal",
    "route_of",
    "shares",
    "stand",
    "stand_of",
]
