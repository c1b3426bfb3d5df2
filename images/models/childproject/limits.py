"""How many processors this container may use. Nothing here imports numpy: thread counts are read when it loads."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def processors(cgroups: Path = CGROUPS) -> int:
    """The CPU limit of the container, rounded up; without a limit the processors it may run on. At least 1."""
    allowed = len(os.sched_getaffinity(0))
    quota = _quota_v2(cgroups) or _quota_v1(cgroups)
    return max(1, min(allowed, math.ceil(quota) if quota else allowed))


def one_thread_each() -> None:
    """Work is shared out over processes, so libraries inside them must not multiply it by threads of their own."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = "1"


def _quota_v2(cgroups: Path) -> float | None:
    words = _read(cgroups / "cpu.max").split()
    return None if len(words) != 2 or words[0] == "max" else int(words[0]) / int(words[1])


def _quota_v1(cgroups: Path) -> float | None:
    quota, period = (_read(cgroups / "cpu" / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return None if not quota or not period or int(quota) <= 0 else int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
