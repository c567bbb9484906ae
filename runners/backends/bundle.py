"""The OCI bundle of a cell: an empty root, read-only binds, and every restriction there is.

docs/architecture.md explains the profile; the contract tests try to break out of it.
"""

import json
import os
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from hotswap.core.limits import MEMORY_MIN_MIB, MIB
from hotswap.core.units import cpu_weight
from runners.backends.base import CellLimits
from runners.backends.programs import Program

INSIDE: Final = "/run/hs"
TASK: Final = f"{INSIDE}/task"
CONTROL: Final = f"{INSIDE}/ctl.sock"
FILE_BYTES: Final = 64 * MIB
TMP_INODES: Final = 4_096
OOM_SCORE: Final = 800
# The weight of the smallest function: cells that boot must not crowd out instances that work.
STEM_LIMITS: Final = CellLimits(
    memory_mib=512, cpu_weight=cpu_weight(MEMORY_MIN_MIB), cpu_cores=2.0
)

SECCOMP: Final = Path(__file__).parent / "seccomp.json"

MASKED_PATHS: Final = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
    "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
    "/proc/timer_stats", "/proc/kallsyms", "/proc/modules", "/proc/cmdline", "/sys",
)  # fmt: skip
READ_ONLY_PATHS: Final = (
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
)  # fmt: skip

_BOOTSTRAP: Final = "/opt/hotswap/bootstrap"
_DIRECTORIES: Final = ("proc", "dev", "tmp", "run/hs", "opt/hotswap", "var", "etc/ssl/certs")
_COPIED: Final = ("etc/ld.so.cache", "etc/ssl/certs/ca-certificates.crt")
_ETC: Final = {
    "passwd": "cell:x:65534:65534:cell:/tmp:/usr/sbin/nologin\n",
    "group": "cell:x:65534:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "hostname": "cell\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "resolv.conf": "",
}


@dataclass(frozen=True, slots=True)
class CellPlace:
    """What differs between one cell and the next.

    Attributes:
        root: made by `make_root` for its runtime.
        meeting: the host's directory that is `/run/hs` inside.
        uid: user and group it runs as, as the host sees them.
        cgroup: its control group; None where this user may not make one.
        user_namespace: map `uid` to 65534 of a user namespace; for engines without root.
    """

    cell_id: str
    root: Path
    meeting: Path
    uid: int
    cgroup: str | None
    user_namespace: bool = False


def make_root(root: Path, program: Program) -> None:
    """Make the root file system of one runtime: mount points and a few files of our own.

    All cells of the runtime share it, read-only. Nothing of the host's `/etc`, `/home`,
    `/var` or `/run` is in it.
    """
    shutil.rmtree(root, ignore_errors=True)
    for name in _DIRECTORIES:
        (root / name).mkdir(parents=True)
    for name, text in _ETC.items():
        (root / "etc" / name).write_text(text)
    for name in _COPIED:
        if (Path("/") / name).is_file():
            shutil.copyfile(Path("/") / name, root / name)
    (root / "var/task").symlink_to(TASK)
    (root / bootstrap_inside(program).lstrip("/")).touch()
    for path in program.visible:
        _make_mount_point(root, path)
    for entry in (root, *root.rglob("*")):
        if not entry.is_symlink():
            entry.chmod(0o755 if entry.is_dir() else 0o644)
    (root / "tmp").chmod(0o1777)  # runc gives a tmpfs the mode of what it is mounted on


def _make_mount_point(root: Path, path: Path) -> None:
    inside = root / str(path).lstrip("/")
    if path.is_symlink():
        inside.symlink_to(os.readlink(path))
    else:
        inside.mkdir(parents=True, exist_ok=True)


def bootstrap_inside(program: Program) -> str:
    """Where a cell sees its bootstrap file."""
    return _BOOTSTRAP + program.runtime.bootstrap.suffix


def read_only_binds(program: Program) -> list[tuple[str, str]]:
    """(host path, path inside) of everything a cell sees of the host."""
    directories = [(str(path), str(path)) for path in program.visible if not path.is_symlink()]
    return [*directories, (str(program.runtime.bootstrap), bootstrap_inside(program))]


def environment() -> dict[str, str]:
    """The environment of every cell. Secrets arrive later, through the control socket."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",  # noqa: S108 - inside the cell, a tmpfs of its own
        "TMPDIR": "/tmp",  # noqa: S108
        "LANG": "C.UTF-8",
    }


def write_bundle(bundle: Path, place: CellPlace, program: Program) -> None:
    """Write `config.json` into the new directory `bundle`."""
    bundle.mkdir(mode=0o700)
    (bundle / "config.json").write_text(json.dumps(_config(place, program)))


def _config(place: CellPlace, program: Program) -> dict[str, Any]:
    return {
        "ociVersion": "1.0.2",
        "hostname": "cell",
        "root": {"path": str(place.root), "readonly": True},
        "process": _process(place, program),
        "mounts": _mounts(place, program),
        "linux": _linux(place),
    }


def _process(place: CellPlace, program: Program) -> dict[str, Any]:
    none: list[str] = []
    sets = ("bounding", "effective", "inheritable", "permitted", "ambient")
    uid = 65_534 if place.user_namespace else place.uid
    return {
        "terminal": False,
        "user": {"uid": uid, "gid": uid, "umask": 0o22},
        "cwd": "/",
        "args": program.command(bootstrap=bootstrap_inside(program), control=CONTROL),
        "env": [f"{name}={value}" for name, value in environment().items()],
        "capabilities": dict.fromkeys(sets, none),
        "noNewPrivileges": True,
        "oomScoreAdj": OOM_SCORE,
        "rlimits": _rlimits(place),
    }


def _rlimits(place: CellPlace) -> list[dict[str, object]]:
    values = {
        "RLIMIT_NOFILE": STEM_LIMITS.open_files,
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": FILE_BYTES,
        "RLIMIT_MSGQUEUE": 0,
    }
    if place.cgroup is None:
        values["RLIMIT_NPROC"] = STEM_LIMITS.pids
    return [{"type": name, "hard": value, "soft": value} for name, value in values.items()]


def _mounts(place: CellPlace, program: Program) -> list[dict[str, object]]:
    binds = [
        _bind(source, inside, "rbind", "rprivate", "ro", "nosuid", "nodev")
        for source, inside in read_only_binds(program)
    ]
    quiet = ["nosuid", "noexec", "nodev"]
    tmp = [*quiet, "mode=1777", f"size={STEM_LIMITS.tmp_mib}m", f"nr_inodes={TMP_INODES}"]
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": quiet},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "noexec", "strictatime", "mode=755", "size=64k", "nr_inodes=64"],
        },
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": tmp},  # noqa: S108
        *binds,  # last: an interpreter may lie below the host's /tmp
        # Code that is bound below `meeting` later comes in by propagation.
        _bind(str(place.meeting), INSIDE, "rbind", "rslave", "ro", "nosuid", "nodev"),
    ]


def _bind(source: str, inside: str, *options: str) -> dict[str, object]:
    return {"destination": inside, "type": "bind", "source": source, "options": list(options)}


def _linux(place: CellPlace) -> dict[str, Any]:
    kinds = ["pid", "network", "ipc", "uts", "mount", "cgroup"]
    linux: dict[str, Any] = {
        "rootfsPropagation": "slave",
        "maskedPaths": list(MASKED_PATHS),
        "readonlyPaths": list(READ_ONLY_PATHS),
        "seccomp": seccomp(),
    }
    if place.user_namespace:
        kinds.append("user")
        mapping = [{"containerID": 65_534, "hostID": place.uid, "size": 1}]
        linux |= {"uidMappings": mapping, "gidMappings": mapping}
    if place.cgroup is not None:
        linux |= {"cgroupsPath": place.cgroup, "resources": _resources()}
    linux["namespaces"] = [{"type": kind} for kind in kinds]
    return linux


def _resources() -> dict[str, object]:
    """Limits before adoption, and no device but the harmless ones that engines add."""
    memory = STEM_LIMITS.memory_mib * MIB
    return {
        "devices": [{"allow": False, "access": "rwm"}],
        "memory": {"limit": memory, "swap": memory},
        "cpu": {
            "shares": STEM_LIMITS.cpu_weight,
            "period": 100_000,
            "quota": int(STEM_LIMITS.cpu_cores * 100_000),
        },
        "pids": {"limit": STEM_LIMITS.pids},
    }


@cache
def seccomp() -> dict[str, Any]:
    """The system calls a cell may make; the same list as for Docker."""
    loaded: dict[str, Any] = json.loads(SECCOMP.read_text())
    return loaded
