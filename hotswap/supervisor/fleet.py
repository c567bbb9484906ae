"""The processes of one machine together: start in order, keep alive, stop in reverse order."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hotswap.supervisor.processes import Process, Spec

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
_STEADY_SECONDS = 60.0


@dataclass(slots=True)
class _Member:
    """A process with the story of its crashes."""

    process: Process
    started_at: float
    pause: float = _FIRST_PAUSE_SECONDS
    restart_at: float | None = None


class Fleet:
    """Groups of processes; a group is stopped before the groups that were started earlier."""

    def __init__(
        self, *, say: Callable[[str], None], remember: Callable[[dict[str, int]], None]
    ) -> None:
        self._say = say
        self._remember = remember
        self._groups: list[list[_Member]] = []

    def launch(self, *groups: Sequence[Spec]) -> None:
        """Start all of them at once, then wait until every one is ready.

        Raises:
            CannotStart: one ended at its start or was not ready in time.
        """
        launched = []
        for group in groups:
            members = [_Member(Process(spec), time.monotonic()) for spec in group]
            self._groups.append(members)
            launched += members
            for member in members:
                member.process.start()
                self._note()
        for member in launched:
            member.process.wait_ready()

    def tend(self) -> None:
        """Restart what crashed, once its pause is over; call it a few times a second."""
        for member in self._members():
            if member.restart_at is not None:
                self._restart_when_due(member)
            elif (code := member.process.exit_code()) is not None:
                self._plan_restart(member, code)

    def stop(self) -> None:
        """Stop group by group, the last started first; safe to repeat."""
        while self._groups:
            group = self._groups[-1]
            for member in group:
                member.process.ask_to_stop()
            for member in group:
                member.process.stop()
            self._groups.pop()

    def _members(self) -> list[_Member]:
        return [member for group in self._groups for member in group]

    def _plan_restart(self, member: _Member, code: int) -> None:
        now = time.monotonic()
        if now - member.started_at > _STEADY_SECONDS:
            member.pause = _FIRST_PAUSE_SECONDS
        spec = member.process.spec
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        self._say(f"{spec.name} {how}; restarting in {member.pause:g} s (log: {spec.log})")
        member.process.stop()  # whatever its session left behind
        member.restart_at = now + member.pause
        member.pause = min(member.pause * 2, _LONGEST_PAUSE_SECONDS)

    def _restart_when_due(self, member: _Member) -> None:
        now = time.monotonic()
        if member.restart_at is None or now < member.restart_at:
            return
        member.restart_at, member.started_at = None, now
        member.process.start()
        self._note()

    def _note(self) -> None:
        pids = {m.process.spec.name: m.process.pid for m in self._members()}
        self._remember({name: pid for name, pid in pids.items() if pid is not None})
