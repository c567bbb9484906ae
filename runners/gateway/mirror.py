"""Repeats stable calls on the candidate and compares the answers; nobody waits for it.

A repeated call is nobody's invocation: it is counted in the tally of its attempt and nowhere
else, and it starts only after its caller was answered.
"""

from typing import Any

from hotswap.core import clock
from hotswap.core.ids import request_id
from hotswap.core.limits import MIB
from runners.gateway.evidence import Tally
from runners.gateway.upstream import RunnerLink
from runners.link.frames import decode_json, encode_json
from runtimes.protocol.framing import FrameType

MIRRORED_MAX = 32  # at once, of one rollout
MIRROR_MAX_BYTES = 1 * MIB  # of a request or an answer that is kept for it

_REPLY = int(FrameType.REPLY)


class Mirror:
    """One call to repeat.

    Args:
        header: of the INVOKE frame to the candidate, without the call's id.
        seconds: how long the runner may take.
    """

    __slots__ = (
        "_answer", "_body", "_header", "_link", "_seconds", "_tally", "deadline",
    )  # fmt: skip

    def __init__(
        self,
        tally: Tally,
        link: RunnerLink,
        *,
        header: tuple[Any, ...],
        body: bytes,
        seconds: float,
    ) -> None:
        self._tally = tally
        self._link = link
        self._header = header
        self._body = body
        self._seconds = seconds
        self._answer: tuple[int, bytes] = (0, b"")
        self.deadline = 0.0

    def send(self, status: int, body: bytes) -> None:
        """Repeat the call whose answer was this, unless too many run or the runner is gone."""
        if (
            self._tally.mirrors_in_flight >= MIRRORED_MAX
            or len(body) > MIRROR_MAX_BYTES
            or self._link.over.is_set()
        ):
            return
        self._answer = (status, body)
        self.deadline = clock.monotonic() + self._seconds
        self._tally.mirrors_in_flight += 1
        self._tally.mirrored += 1
        self._link.invoke(self, encode_json((request_id(), *self._header)), self._body, False)
        self._body = b""

    def on_frame(self, kind: int, header: bytes, body: bytes) -> bool:
        self._tally.mirrors_in_flight -= 1
        if kind != _REPLY:
            self._tally.mirror_failed += 1
        elif (decode_json(header)[0], body) == self._answer:
            self._tally.mirror_same += 1
        else:
            self._tally.mirror_different += 1
        return True

    def on_link_lost(self) -> None:
        self._tally.mirrors_in_flight -= 1
        self._tally.mirror_failed += 1

    on_deadline = on_link_lost
