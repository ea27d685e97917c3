"""The variables that a configuration may refer to: the environment's, and beneath them those of a `.env` file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values


def variables(environ: Mapping[str, str], env_file: Path | str | None = ".env") -> dict[str, str]:
    """All of them; read anew, so that a changed file counts."""
    written = dotenv_values(env_file) if env_file is not None else {}
    return {**{key: value for key, value in written.items() if value is not None}, **environ}
