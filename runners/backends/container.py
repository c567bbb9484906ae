"""The hardening profile of a container, as the engine's API takes it.

Every line is asserted by a test that inspects a running container, and tried from inside by
another. Nothing in it comes from a user.
"""

import json
from pathlib import Path
from typing import Any, Final

from hotswap.core.limits import MIB
from runners.backends import bundle
from runners.backends.base import CellLimits

USER: Final = 65_534
STOP_SECONDS: Final = 2
_PERIOD_US: Final = 100_000


def container_config(
    *, image: str, labels: dict[str, str], meeting: Path, parent: str, shared: bool, apparmor: bool
) -> dict[str, Any]:
    """What to create.

    Args:
        meeting: the host's directory that is `/run/hs` inside.
        parent: control group for all cells; empty is the engine's own.
        shared: mounts made below `meeting` later are to appear inside.
        apparmor: the engine's machine has AppArmor.
    """
    return {
        "Image": image,
        "Cmd": [bundle.CONTROL],
        "Env": [f"{name}={value}" for name, value in bundle.environment().items()],
        "User": f"{USER}:{USER}",
        "WorkingDir": "/",
        "Hostname": "cell",
        "NetworkDisabled": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Labels": labels,
        "StopTimeout": STOP_SECONDS,
        "HostConfig": _host(meeting, parent, shared, apparmor),
    }


def _host(meeting: Path, parent: str, shared: bool, apparmor: bool) -> dict[str, Any]:
    tmp = f"rw,noexec,nosuid,nodev,mode=1777,size={bundle.STEM_LIMITS.tmp_mib}m"
    return {
        "CapDrop": ["ALL"],
        "SecurityOpt": _security(apparmor),
        "ReadonlyRootfs": True,
        "MaskedPaths": list(bundle.MASKED_PATHS),
        "ReadonlyPaths": list(bundle.READ_ONLY_PATHS),
        "Tmpfs": {"/tmp": f"{tmp},nr_inodes={bundle.TMP_INODES}"},  # noqa: S108 - inside
        "Mounts": [_meeting_mount(meeting, shared)],
        "NetworkMode": "none",
        "IpcMode": "none",
        "Sysctls": {"net.ipv4.ping_group_range": "1 0"},
        "Ulimits": _ulimits(),
        "OomScoreAdj": bundle.OOM_SCORE,
        "CgroupParent": parent,
        "LogConfig": {"Type": "none", "Config": {}},
        **limits_config(bundle.STEM_LIMITS),
    }


def limits_config(limits: CellLimits) -> dict[str, Any]:
    """The limits that the engine can also change while a container runs."""
    memory = limits.memory_mib * MIB
    return {
        "Memory": memory,
        "MemorySwap": memory,
        "CpuShares": limits.cpu_weight,
        "CpuPeriod": _PERIOD_US,
        "CpuQuota": int(limits.cpu_cores * _PERIOD_US),
        "PidsLimit": limits.pids,
    }


def _security(apparmor: bool) -> list[str]:
    options = ["no-new-privileges:true", f"seccomp={json.dumps(bundle.seccomp())}"]
    return [*options, "apparmor=docker-default"] if apparmor else options


def _meeting_mount(meeting: Path, shared: bool) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": str(meeting),
        "Target": bundle.INSIDE,
        "ReadOnly": True,
        "BindOptions": {"Propagation": "rslave" if shared else "rprivate"},
    }


def _ulimits() -> list[dict[str, Any]]:
    values = {"nofile": bundle.STEM_LIMITS.open_files, "core": 0, "fsize": bundle.FILE_BYTES}
    return [{"Name": name, "Soft": value, "Hard": value} for name, value in values.items()]
