"""What a worker says of itself, as values of metrics: what is asked when it is told, and counted nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from switchboard.telemetry.metrics import Labels, Snapshot, counted
from switchboard.telemetry.process_usage import cpu_seconds, open_descriptors, resident_mebibytes

_NUMBERS: Final = {
    "streams": "switchboard_streams",
    "requests": "switchboard_exchanges",
    "parked": "switchboard_parked_calls",
    "tasks": "switchboard_tasks",
}
"""Member of the document → metric."""


def gauges(told: Mapping[str, Any]) -> Snapshot:
    """Those of one worker, from the document that it tells its operators and the command line."""
    state = "draining" if told.get("draining") else "serving"
    return {
        "switchboard_workers": {(state,): [1]},
        **{metric: {(): [told.get(member, 0)]} for member, metric in _NUMBERS.items()},
        "switchboard_configuration_problems": {(): [1 if told.get("problem") else 0]},
        "switchboard_servers": _states(told.get("servers", ()), "condition"),
        "switchboard_plugins": _states(told.get("plugins", ()), "phase"),
        "switchboard_fast_path_requests": {(way,): [count] for way, count in told.get("ways", {}).items()},
    }


def _states(rows: Any, member: str) -> dict[Labels, list[float]]:
    """How it is doing with each: a server that does not run has a phase alone."""
    running = [row for row in rows if "name" in row]
    return {(row["name"], str(row.get(member) or row.get("phase", ""))): [1] for row in running}


def everything(told: Mapping[str, Any]) -> Snapshot:
    """All values of this process."""
    return {**counted(), **gauges(told), **_of_process()}


def _of_process() -> Snapshot:
    """What the process uses of its machine."""
    return {
        "switchboard_process_cpu_seconds": {(): [cpu_seconds()]},
        "switchboard_process_open_descriptors": {(): [open_descriptors()]},
        "switchboard_process_resident_memory_bytes": {(): [resident_mebibytes()]},
    }
