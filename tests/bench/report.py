"""Shows figures as they come, as a table or as lines of JSON, and keeps them in a file."""

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from hotswap.core import clock
from hotswap.supervisor.install import ROOT
from tests.bench.figures import Figure

FOLDER = ROOT / "bench-results"


class Report:
    """All figures of one run."""

    def __init__(self, *, as_json: bool, options: argparse.Namespace) -> None:
        self._as_json = as_json
        self._options = vars(options)
        self._figures: list[Figure] = []
        self._benchmark = ""

    def add(self, benchmark: str, figure: Figure) -> None:
        """Show one figure now."""
        self._figures.append(figure)
        if self._as_json:
            sys.stdout.write(json.dumps(figure.document()) + "\n")
        else:
            self._show(benchmark, figure)
        sys.stdout.flush()

    def _show(self, benchmark: str, figure: Figure) -> None:
        if benchmark != self._benchmark:
            self._benchmark = benchmark
            sys.stdout.write(f"\n{benchmark}\n")
        value = "not measured" if figure.value is None else _number(figure.value)
        spread = f"{_number(min(figure.runs))}..{_number(max(figure.runs))}" if figure.runs else ""
        goal = f"goal {figure.goal}" if figure.goal else ""
        mark = {True: "holds", False: "MISSED", None: ""}[figure.holds]
        line = f"  {figure.name:<30} {value:>12} {figure.unit:<8} {spread:<18} {goal:<12} {mark}"
        sys.stdout.write(line.rstrip() + "\n")
        if figure.note:
            sys.stdout.write(f"    {figure.note}\n")

    def finish(self) -> bool:
        """Write the file; whether every figure holds."""
        FOLDER.mkdir(exist_ok=True)
        path = FOLDER / f"{clock.utc_now():%Y-%m-%dT%H%M%SZ}.json"
        path.write_text(json.dumps(self._document(), indent=1) + "\n")
        missed = [figure.name for figure in self._figures if figure.holds is False]
        if not self._as_json:
            verdict = f"missed: {', '.join(missed)}" if missed else "every measured figure holds"
            sys.stdout.write(f"\n{verdict}; kept in {path.relative_to(ROOT)}\n")
        return not missed

    def _document(self) -> dict[str, Any]:
        return {
            "machine": machine(),
            "options": self._options,
            "figures": [figure.document() for figure in self._figures],
        }


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    cpu = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = [line for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return {
        "cpu": cpu[0].partition(":")[2].strip() if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "memory_mib": int(memory[0].split()[1]) // 1024 if memory else None,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []


def _number(value: float) -> str:
    """Three digits that count; no more than the measurement deserves."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1g}"
