"""What is released, and the ways to start it: the wheel in an environment of its own, as uvx does, and the one file.

A way is a command; nothing of this checkout is on its path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DIST: Final = ROOT / "dist"
PINS: Final = ROOT / "constraints.txt"
BESIDE: Final = Path(sys.executable).parent
"""Where pip puts programs: uv and pex come from wheels."""

PYTHON: Final = str(Path(sys.base_prefix) / "bin" / "python3")
"""A Python of this version that has nothing installed for this repository."""

PYTHONS: Final = os.pathsep.join((str(Path(sys.base_prefix) / "bin"), "/usr/bin", "/bin"))
"""Where a Python of this version is, and the system's programs."""

REACHING: Final = ("PIP_", "UV_", "SSL_CERT_", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
"""What an installer of packages may need to reach them: how the names of such variables begin."""


@dataclass(frozen=True)
class Way:
    """One way to start what was released."""

    name: str
    command: tuple[str, ...]
    """All before `serve`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the way itself needs, besides PATH and HOME."""


def wheel(folder: Path = DIST) -> Path:
    """The wheel of `make build`.

    Raises:
        FileNotFoundError: there is none.
    """
    return _only(folder, "*.whl", "make build")


def binary(folder: Path = DIST) -> Path:
    """The one file of `make binary`.

    Raises:
        FileNotFoundError: there is none.
    """
    return _only(folder, "switchboard", "make binary")


def _only(folder: Path, pattern: str, target: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(f"{folder} has {len(found)} of {pattern}: `{target}` writes it")
    return found[0]


def built_wheel(folder: Path) -> Path:
    """A wheel of the source as it is, built into `folder` with what is installed: no environment is made for it."""
    command = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder))
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return wheel(folder)


def reaching() -> dict[str, str]:
    """The variables of this process with which packages are reached."""
    return {name: value for name, value in os.environ.items() if name.startswith(REACHING)}


def in_environment(package: Path, folder: Path) -> Way:
    """The wheel, installed by pip into a virtual environment that had nothing, with the pinned versions."""
    subprocess.run((sys.executable, "-m", "venv", str(folder)), check=True)
    install = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--constraint", str(PINS))
    subprocess.run((*install, str(package)), check=True)
    return Way("wheel", (str(folder / "bin" / "switchboard"),))


def uv() -> tuple[str, dict[str, str]]:
    """The program, and the environment in which it finds packages: the pinned versions, and a Python that is here.

    Raises:
        FileNotFoundError: it is not installed.
    """
    program = shutil.which("uv", path=f"{BESIDE}{os.pathsep}{os.environ.get('PATH', '')}")
    if program is None:
        raise FileNotFoundError("uv is not installed: it is part of the extra `dev`")
    certificates = {"SSL_CERT_FILE": os.environ["PIP_CERT"]} if "PIP_CERT" in os.environ else {}
    return program, certificates | reaching() | {"UV_CONSTRAINT": str(PINS), "UV_PYTHON_DOWNLOADS": "never"}


def as_uvx(package: Path) -> Way:
    """The wheel, as `uvx` starts it: uv makes an environment for it and keeps it."""
    program, environment = uv()
    command = (program, "tool", "run", "--quiet", "--python", PYTHON, "--from", str(package), "switchboard")
    return Way("uvx", command, environment)


def bare_environment(package: Path, folder: Path) -> Path:
    """An environment with the wheel and what it needs, without a pip of its own; its Python."""
    program, environment = uv()
    python = folder / "bin" / "python"
    made = {**os.environ, **environment}
    subprocess.run((program, "venv", "--quiet", "--python", PYTHON, str(folder)), check=True, env=made)
    subprocess.run((program, "pip", "install", "--quiet", "--python", str(python), str(package)), check=True, env=made)
    return python


def as_one_file(file: Path) -> Way:
    """The one file."""
    return Way("binary", (str(file),))
