"""What the runner may ask of the privileged process: a fixed list of verbs, all checked.

One message is one packet of JSON on a `SOCK_SEQPACKET` socket; a file descriptor may come
with it. Anything that is not exactly one of these is refused before any of it is used.
"""

from typing import Annotated

import msgspec

PACKET_BYTES = 16 * 1024

CellId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,19}$")]
RuntimeName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9.]{1,32}$")]
HostPath = Annotated[str, msgspec.Meta(pattern=r"^/[^\x00]*$", max_length=4096)]


class Request(msgspec.Struct, tag_field="verb", tag=str.lower, forbid_unknown_fields=True):
    """Base of all verbs. `n` numbers the request; the answer repeats it."""

    n: int


class Open(Request):
    """Say what this machine enforces. Answer: `Opened`."""


class Create(Request):
    """Make and boot a cell; comes with the descriptor that becomes its stdout and stderr.

    Answer: `Done` with the connected control socket.
    """

    cell: CellId
    runtime: RuntimeName


class Prepare(Request):
    """Make the meeting directory of a cell that another engine will make. Answer: `Done`
    with its path."""

    cell: CellId


class Accept(Request):
    """Wait for the bootstrap of a prepared cell, and take over its control group.

    Answer: `Done` with the connected control socket.
    """

    cell: CellId


class Adopt(Request):
    """Bind a directory as the cell's code and set its limits."""

    cell: CellId
    code: HostPath
    memory_mib: Annotated[int, msgspec.Meta(ge=16, le=1 << 20)]
    cpu_weight: Annotated[int, msgspec.Meta(ge=2, le=262_144)]
    cpu_cores: Annotated[float, msgspec.Meta(ge=0.01, le=1_024)]
    pids: Annotated[int, msgspec.Meta(ge=1, le=32_768)]
    tmp_mib: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
    open_files: Annotated[int, msgspec.Meta(ge=16, le=1 << 20)]


class Freeze(Request):
    """Stop a cell's CPU use."""

    cell: CellId


class Thaw(Request):
    """Undo `Freeze`."""

    cell: CellId


class Stats(Request):
    """Answer: `Used`."""

    cell: CellId


class Stop(Request):
    """Kill a cell and remove every trace of it. No error when there is none."""

    cell: CellId


AnyRequest = Open | Create | Prepare | Accept | Adopt | Freeze | Thaw | Stats | Stop


class Reply(msgspec.Struct, tag_field="kind", tag=str.lower):
    """Base of what the privileged process sends. `n` is 0 for what nobody asked for."""

    n: int


class Done(Reply):
    """It is done. `path` where one was asked for."""

    path: str = ""


class Failed(Reply):
    """It is not done; `detail` is a sentence."""

    detail: str


class Opened(Reply):
    """What is enforced here.

    Attributes:
        cgroup_parent: the control group that cells of other engines belong in.
    """

    engine: str
    enforced: list[str]
    missing: list[str]
    cgroup_parent: str


class Used(Reply):
    """`CellStats`."""

    memory_bytes: int | None
    memory_peak_bytes: int | None
    cpu_seconds: float | None
    pids: int | None
    oom_kills: int | None


class Exited(Reply):
    """The first process of a cell ended."""

    cell: str
    code: int | None
    out_of_memory: bool


AnyReply = Done | Failed | Opened | Used | Exited

encode = msgspec.json.Encoder().encode
decode_request = msgspec.json.Decoder(AnyRequest).decode
decode_reply = msgspec.json.Decoder(AnyReply).decode
