"""Pure planners, one file each; importing the package registers them all."""

from deployments.strategies import (
    ab_testing,
    all_at_once,
    blue_green,
    canary,
    regional,
    rolling,
)

__all__ = ["ab_testing", "all_at_once", "blue_green", "canary", "regional", "rolling"]
