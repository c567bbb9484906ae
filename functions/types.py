"""Values that services take."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything a user may set on a function.

    Attributes:
        runtime, handler, memory_mib, timeout_seconds, environment: taken over by the next
            version and by no earlier one.
        reserved_concurrency, max_instances, idle_timeout_seconds, max_queue: live at once,
            for all versions.
        is_idempotent: a call may be repeated; so may be mirrored to another version. Live too.
    """

    runtime: str
    handler: str
    memory_mib: int = 256
    timeout_seconds: int = 30
    environment: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    reserved_concurrency: int | None = None
    max_instances: int = 100
    idle_timeout_seconds: int = 300
    max_queue: int = 1_000
    is_idempotent: bool = False
