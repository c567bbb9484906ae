"""Cells without root: bubblewrap and a user namespace.

What an unprivileged user may ask of the kernel: namespaces, a read-only root, a system
call filter, and limits per process. Control groups are not among it; `isolation` says so.
"""

import ctypes
import ctypes.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from hotswap.core.errors import BackendFailed
from hotswap.core.limits import MIB
from runners.backends import bundle
from runners.backends.base import Isolation
from runners.backends.code_tree import place_code
from runners.backends.programs import Program

_PROBE_SECONDS: Final = 10.0
_ETC: Final = ("ld.so.cache", "ssl/certs/ca-certificates.crt")
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_OPERATORS: Final = {"SCMP_CMP_EQ": 4, "SCMP_CMP_MASKED_EQ": 7}


class Bubblewrap:
    """Wraps a cell's command in bubblewrap."""

    name = "sandbox"

    def __init__(self) -> None:
        self._filter: Path | None = None
        self._path = ""

    def check(self) -> None:
        """Find bubblewrap and see that it works; make the system call filter.

        Raises:
            BackendFailed: it is not installed, or the kernel refuses user namespaces.
        """
        self._path = shutil.which("bwrap") or ""
        if not self._path:
            raise BackendFailed(
                "Neither root nor bubblewrap is here: start as root, or apt-get install bubblewrap."
            )
        command = [self._path, "--unshare-all", "--ro-bind", "/", "/", "/usr/bin/true"]
        done = subprocess.run(command, capture_output=True, timeout=_PROBE_SECONDS, check=False)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise BackendFailed(f"bubblewrap does not work here: {said}")
        self._filter = _compile_filter()

    def isolation(self) -> Isolation:
        no_groups = "control groups need root; start sandboxd for them"
        missing = [
            f"memory limit of a whole instance: {no_groups}; each process has one",
            f"CPU limit and weight: {no_groups}",
            f"out-of-memory report: {no_groups}",
            "a user of its own for every instance: needs root",
            "programs in /tmp do not run: bubblewrap has no option for it",
        ]
        if self._filter is None:
            missing.append("system call allow-list: libseccomp is not installed")
        enforced = [
            "own pid, network, ipc, uts, mount, cgroup and user namespaces",
            "no capabilities",
            "no new privileges",
            "read-only root without the machine's files",
            "size limit on /tmp",
            "memory limit of each process",
            "process limit",
            "no network",
            "read-only code",
        ]
        if self._filter is not None:
            enforced.append("system call allow-list")
        return Isolation(name="sandbox (bubblewrap)", enforced=(*enforced,), missing=(*missing,))

    def command(self, program: Program, meeting: Path) -> tuple[list[str], list[int]]:
        """The command line, and descriptors that it inherits and its caller closes."""
        inside = program.command(bootstrap=bundle.bootstrap_inside(program), control=bundle.CONTROL)
        options = ["--unshare-all", "--die-with-parent", "--clearenv", "--hostname", "cell",
                   "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"]  # fmt: skip
        for name, value in bundle.environment().items():
            options += ["--setenv", name, value]
        options += [
            "--proc", "/proc", *_masks(), "--dev", "/dev", "--remount-ro", "/dev",
            "--perms", "1777", "--size", str(bundle.STEM_LIMITS.tmp_mib * MIB), "--tmpfs", "/tmp",  # noqa: S108
        ]  # fmt: skip
        for path in program.visible:  # last: an interpreter may lie below the host's /tmp
            options += _show(path)
        bootstrap = str(program.runtime.bootstrap)
        options += ["--ro-bind", bootstrap, bundle.bootstrap_inside(program)]
        for name in _ETC:
            options += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        options += [
            "--ro-bind", str(meeting), bundle.INSIDE,
            "--symlink", bundle.TASK, "/var/task", "--remount-ro", "/", "--chdir", "/",
        ]  # fmt: skip
        descriptors = []
        if self._filter is not None:
            descriptors.append(os.open(self._filter, os.O_RDONLY))
            options += ["--seccomp", str(descriptors[0])]
        return [self._path, *options, "--", *inside], descriptors

    def place(self, code: Path, meeting: Path) -> str:
        """Make the code visible; return its path inside. Blocks."""
        place_code(code, meeting / "task")
        return bundle.TASK

    def exit_code(self, status: int) -> int:
        """bubblewrap ends with 128 and the signal's number where its child was killed."""
        return 128 - status if status > 128 else status


def _masks() -> list[str]:
    """Nothing where the kernel would tell about itself; directories stay, unwritable."""
    files = [path for path in bundle.MASKED_PATHS if Path(path).is_file()]
    return [option for path in files for option in ("--ro-bind", "/dev/null", path)]


def _show(path: Path) -> list[str]:
    if path.is_symlink():
        return ["--symlink", os.readlink(path), str(path)]
    return ["--ro-bind", str(path), str(path)]


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def _compile_filter() -> Path | None:
    """The allow-list as a program for the kernel, in a file; None without libseccomp."""
    found = ctypes.util.find_library("seccomp")
    if found is None:
        return None
    library = ctypes.CDLL(found)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ERRNO | 1)))
    for rule in bundle.seccomp()["syscalls"]:
        _add_rule(library, context, rule)
    with tempfile.NamedTemporaryFile(prefix="hotswap-filter-", delete=False) as file:
        library.seccomp_export_bpf(context, file.fileno())
    library.seccomp_release(context)
    return Path(file.name)


def _add_rule(library: ctypes.CDLL, context: ctypes.c_void_p, rule: dict[str, Any]) -> None:
    allowed = rule["action"] == "SCMP_ACT_ALLOW"
    action = ctypes.c_uint32(_ALLOW if allowed else _ERRNO | rule["errnoRet"])
    comparisons = (_Comparison * len(rule["args"]))(
        *(
            # A masked comparison takes the mask first.
            _Comparison(item["index"], _OPERATORS[item["op"]], item["value"], item["valueTwo"])
            for item in rule["args"]
        )
    )
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # below zero: not on this architecture
            library.seccomp_rule_add_array(context, action, number, len(comparisons), comparisons)
