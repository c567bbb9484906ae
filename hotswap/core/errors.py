"""The one tree of errors: what went wrong, whose fault it is, and the HTTP status that says so.

Names say the condition. `slug` names the problem page (`/problems/<slug>`) and the
outcome label in metrics; it is part of the API and never changes its meaning.
"""

from typing import ClassVar, Literal

Fault = Literal["caller", "function", "platform"]


class HotSwapError(Exception):
    """Base of every anticipated error.

    Attributes:
        detail: one sentence for the person who caused it: what, why, what to do.
        extras: named members added to the problem document; never secrets.
    """

    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    status: ClassVar[int] = 500
    fault: ClassVar[Fault] = "platform"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, **extras: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extras = extras

    def problem(self) -> dict[str, object]:
        """The RFC 9457 members of this error, without `instance`."""
        return {
            "type": f"/problems/{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "fault": self.fault,
            "retryable": self.retryable,
            **self.extras,
        }


class InvalidInput(HotSwapError):
    slug, title, status, fault = "invalid-input", "Invalid input", 422, "caller"


class BadRequest(HotSwapError):
    slug, title, status, fault = "bad-request", "Malformed request", 400, "caller"


class Unauthenticated(HotSwapError):
    slug, title, status, fault = "unauthenticated", "Authentication needed", 401, "caller"


class Forbidden(HotSwapError):
    slug, title, status, fault = "forbidden", "Not allowed", 403, "caller"


class NotFound(HotSwapError):
    slug, title, status, fault = "not-found", "Not found", 404, "caller"


class Conflict(HotSwapError):
    slug, title, status, fault = "conflict", "Conflict", 409, "caller"


class AlreadyExists(Conflict):
    slug, title = "already-exists", "Already exists"


class IllegalTransition(Conflict):
    slug, title = "illegal-transition", "Not possible in this state"


class StaleRow(HotSwapError):
    slug, title, status, fault = "stale-row", "Changed since you read it", 412, "caller"


class PayloadTooLarge(HotSwapError):
    slug, title, status, fault = "payload-too-large", "Request too large", 413, "caller"


class UnsupportedPackage(InvalidInput):
    """The uploaded code package was refused; `reason` is machine-readable."""

    slug, title = "invalid-package", "Package refused"


class UnknownPlugin(HotSwapError):
    slug, title, status, fault = "unknown-plugin", "Unknown name", 422, "caller"


class Unimplemented(HotSwapError):
    slug, title, status = "not-implemented", "Not implemented", 501


class Throttled(HotSwapError):
    """The function is at its concurrency limit and its queue is full; nothing was sent."""

    slug, title, status, fault, retryable = "throttled", "Too many requests", 429, "caller", True


class Unavailable(HotSwapError):
    """The platform cannot serve now (no runner, code not reachable, shutting down)."""

    slug, title, status, retryable = "unavailable", "Temporarily unavailable", 503, True


class UpstreamFailed(HotSwapError):
    """A runner or an instance broke the protocol or the connection."""

    slug, title, status = "upstream-failed", "Upstream failed", 502


class BackendFailed(HotSwapError):
    """A container engine or sandbox refused or failed an operation."""

    slug, title, status = "backend-failed", "Isolation backend failed", 502


class FunctionFailed(HotSwapError):
    """The user's code is at fault; never counted as ours."""

    slug, title, status = "function-failed", "The function failed", 502
    fault = "function"


class FunctionRaised(FunctionFailed):
    slug, title = "function-raised", "The function raised an error"


class FunctionCrashed(FunctionFailed):
    slug, title = "function-crashed", "The function's process died"


class OutOfMemory(FunctionFailed):
    slug, title = "out-of-memory", "The function ran out of memory"


class FunctionTimeout(FunctionFailed):
    slug, title, status = "function-timeout", "The function ran out of time", 504


class InitFailed(FunctionFailed):
    slug, title = "init-failed", "The function could not be loaded"


class BadResult(FunctionFailed):
    slug, title = "bad-result", "The function's result cannot be sent"


class ResponseTooLarge(FunctionFailed):
    slug, title = "response-too-large", "The function's response is too large"


class ProtocolViolation(FunctionFailed):
    """User code tampered with the instance's control socket; the instance was killed."""

    slug, title = "protocol-violation", "The function broke the runtime protocol"


class Cancelled(HotSwapError):
    """The caller hung up. 499 is the common log code for it; nobody reads the reply."""

    slug, title, status, fault = "cancelled", "Cancelled by the caller", 499, "caller"


def all_errors() -> dict[str, type[HotSwapError]]:
    """Every error class by slug."""
    found: dict[str, type[HotSwapError]] = {}
    pending: list[type[HotSwapError]] = [HotSwapError]
    while pending:
        error = pending.pop()
        found[error.slug] = error
        pending += error.__subclasses__()
    return found
