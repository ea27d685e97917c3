"""What was found, in .cache/bench/results.json: by row, with the time, the commit and the load of the machine."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from scratch.bench.install import CACHE, ROOT, peers
from scratch.bench.processes import Cores
from tools.fleet.redis_server import find_binary

FILE: Final = CACHE / "results.json"
OURS: Final = ("mcp", "uvicorn", "uvloop", "httptools", "pydantic", "redis", "hiredis", "starlette")

Results = dict[str, Any]


def read() -> Results:
    """All that was found so far."""
    return json.loads(FILE.read_text()) if FILE.exists() else {"machine": {}, "versions": {}, "rows": {}}


def keep(row: str, found: Results, cores: Cores, pace: Results) -> None:
    """Put a row to the others; an older one of that name goes."""
    everything = read()
    everything["machine"] = machine(cores)
    everything["versions"] = versions()
    everything["rows"][row] = {
        **found,
        "pace": pace,
        "commit": commit(),
        "when": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "load": round(os.getloadavg()[0], 1),
    }
    CACHE.mkdir(parents=True, exist_ok=True)
    beside = FILE.with_suffix(".new")
    beside.write_text(json.dumps(everything, indent=1))
    beside.replace(FILE)


def commit() -> str:
    """The commit of this repository, with a `+` if files were changed since."""
    return _said("git", "rev-parse", "--short", "HEAD") + ("+" if _said("git", "status", "--porcelain", "src") else "")


def machine(cores: Cores) -> Results:
    """Where it was measured."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "server_cores": sorted(cores.server),
        "load_cores": sorted(cores.load),
    }


def versions() -> dict[str, str]:
    """What was measured."""
    redis = find_binary()
    found = {"Python": platform.python_version(), (redis.version if redis else "no Redis"): ""}
    found |= {"Node": _said("node", "--version")} if shutil.which("node") else {}
    found |= {name: version(name) for name in OURS}
    return found | {
        peer.package.replace("==", " ").replace(f"@{peer.version}", f" {peer.version}"): "" for peer in peers().values()
    }


def _cpu() -> str:
    file = Path("/proc/cpuinfo")
    rows = file.read_text().splitlines() if file.exists() else []
    return next((row.partition(":")[2].strip() for row in rows if row.startswith("model name")), platform.machine())


def _said(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
