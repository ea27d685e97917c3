"""Plugins for the workers of one fleet, without installing anything where the product is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path


def installed(folder: Path, name: str, factory: str) -> dict[str, str]:
    """Install a plugin for processes with the returned environment alone.

    What makes a plugin found is an entry point in the metadata of a distribution. They are written into a folder of
    their own, which is put on those processes' path; `factory` ("package.module:function") they can import already.
    """
    metadata = folder / "plugins" / f"{name}_plugin-1.0.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-plugin\nVersion: 1.0.0\n")
    (metadata / "entry_points.txt").write_text(f"[switchboard.plugins]\n{name} = {factory}\n")
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(metadata.parent), os.environ.get("PYTHONPATH"))))}


def only(folder: Path, name: str, factory: str, config: Mapping[str, object] | None = None) -> dict[str, str]:
    """The environment of workers that have this one plugin, its tools without a prefix, and not the demo's."""
    file = folder / f"{name}.json"
    rows = {"everything": {"enabled": False}, name: {"prefix": "never", "config": config or {}}}
    file.write_text(json.dumps({"plugins": rows}))
    return installed(folder, name, factory) | {"CONFIG_FILE": str(file)}
