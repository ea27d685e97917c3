"""The software bill of materials (CycloneDX) of a release: `python -m tools.release.bill_of_materials`.

It is made from an environment that holds the wheel and what the wheel needs, in the pinned versions: no tool of the
developers, but every package that a user gets. The file is dist/switchboard.cdx.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from switchboard import __version__
from tools.release.artefacts import BESIDE, DIST, ROOT, bare_environment, wheel

FILE: Final = DIST / "switchboard.cdx.json"


def project(folder: Path) -> Path:
    """pyproject.toml with the version, which it has from the source."""
    text = (ROOT / "pyproject.toml").read_text()
    stated = text.replace('dynamic = ["version"]', f'version = "{__version__}"')
    if stated == text:
        raise ValueError('pyproject.toml has no `dynamic = ["version"]`')
    path = folder / "pyproject.toml"
    path.write_text(stated)
    return path


def missing(bill: dict[str, Any]) -> list[str]:
    """What the package needs, and the bill does not list with a version."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    listed = {canonicalize_name(each["name"]) for each in bill["components"] if each.get("version")}
    return [line for line in needed if canonicalize_name(Requirement(line).name) not in listed]


def main() -> int:
    """Write it; 1 when it lacks something."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = bare_environment(wheel(), folder / "venv")
        made = (str(BESIDE / "cyclonedx-py"), "environment", "--pyproject", str(project(folder)), "--validate")
        subprocess.run((*made, "--output-reproducible", "--output-file", str(FILE), str(python)), check=True)
    bill = json.loads(FILE.read_text())
    faults = missing(bill)
    print(f"{FILE.relative_to(ROOT)}: {len(bill['components'])} packages, CycloneDX {bill['specVersion']}")
    for fault in faults:
        print(f"{fault} is not in it", file=sys.stderr)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
