"""A server with a lab, as a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.conftest import COMMAND, bare
from tools.fleet.children import answers, free_port, start


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its base URL."""
    port = free_port()
    command = [COMMAND, "serve", "--port", str(port)]
    child = start("lab", command, tmp_path_factory.mktemp("lab"), bare({"LAB": "on", "RATE_LIMIT": "0"}))
    child.wait_until(lambda: answers(port, "/readyz"), timeout=120)
    yield f"http://localhost:{port}"
    child.stop()
