"""docs/deployment.md, run block by block as it stands there, at other addresses."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from switchboard.settings import Settings, load_settings
from tools.fleet.balancer import find_nginx
from tools.fleet.children import LOOPBACK, Child, free_port, listens, start

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "deployment.md").read_text()
_INSTALL, SETTINGS, CERTIFICATE, PROXY, SERVE, LOOK = re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL)
APART = re.findall(r"```dotenv\n(.*?)```", DOCUMENT, re.DOTALL)[0]
PATIENCE = 300


class Place:
    """A folder with what a newcomer has there, and the addresses that stand for those of the document."""

    proxy: Child

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        self.tls, self.port = free_port(), free_port()
        nginx = find_nginx()
        assert nginx is not None
        unprivileged = f'-e stderr -p {folder} -g "daemon off; pid {folder}/nginx.pid;"'
        self.names = {
            "https://mcp.example.com": f"https://localhost:{self.tls}",
            "mcp.example.com": "localhost",
            "redis://127.0.0.1:6379/0": redis_url,
            "WORKERS=4": f"WORKERS=2\nPORT={self.port}",
            "server 127.0.0.1:3232": f"server 127.0.0.1:{self.port}",
            "listen 443": f"listen {LOOPBACK}:{self.tls}",
            "/var/log/nginx": str(folder),
            "sudo nginx": f"{nginx} {unprivileged}",
        }
        (folder / "deploy").mkdir()
        temporary = "".join(f"  {kind}_temp_path {folder}/{kind};\n" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
        shipped = (ROOT / "deploy" / "nginx.conf").read_text()
        whole = shipped.replace("http {\n", f"http {{\n  client_body_temp_path {folder}/body;\n{temporary}", 1)
        (folder / "deploy" / "nginx.conf").write_text(whole)
        bin_folder = folder / ".venv" / "bin"
        bin_folder.mkdir(parents=True)
        (bin_folder / "switchboard").symlink_to(ROOT / ".venv" / "bin" / "switchboard")
        ours = {name.upper() for name in Settings.model_fields}
        self.env = {name: value for name, value in os.environ.items() if name not in ours}

    def here(self, block: str) -> str:
        """The block with this place's addresses."""
        for name, value in self.names.items():
            block = block.replace(name, value)
        return f"set -eu\n{block}"

    def run(self, block: str) -> str:
        """Run it to its end; what it printed."""
        command = ["bash", "-c", self.here(block)]
        done = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, name: str, block: str) -> Child:
        """Run it until it is ended."""
        (*prepared, last) = self.here(block).strip().splitlines()
        return start(name, ["bash", "-c", "\n".join([*prepared, f"exec {last}"])], self.folder, self.env)


@pytest.fixture
def place(tmp_path: Path, redis_url: str) -> Place:
    for program in ("openssl", "curl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if find_nginx() is None:
        pytest.skip("nginx is not installed")
    return Place(tmp_path, redis_url)


@pytest.fixture
def followed(place: Place) -> Iterator[Place]:
    """The steps up to the running server, one after the other."""
    for block in (SETTINGS, CERTIFICATE):
        place.run(block)
    proxy = place.proxy = place.start("nginx", PROXY)
    workers = place.start("workers", SERVE)
    proxy.wait_until(lambda: listens(place.tls), PATIENCE)
    workers.wait_until(lambda: listens(place.port), PATIENCE)
    yield place
    for child in (workers, proxy):
        child.stop()


def test_who_follows_the_page_word_by_word_calls_a_tool_through_tls(followed: Place) -> None:
    said = followed.run(LOOK)
    decoder, answers, rest = json.JSONDecoder(), [], said.strip()
    while rest:
        answer, end = decoder.raw_decode(rest)
        answers.append(answer)
        rest = rest[end:].lstrip()
    ready, called = answers
    assert ready["status"] == "ready"
    shown: dict[str, Any] = called["result"]["structuredContent"]
    assert called["result"].get("isError", False) is False
    assert "alice" in json.dumps(shown)
    log = followed.folder / "access.log"  # nginx writes a line once it has done with the request, after the answer
    followed.proxy.wait_until(lambda: '"POST /mcp HTTP/1.1" 200' in log.read_text(), PATIENCE)


def test_the_settings_of_the_page_are_kept_from_others_and_each_has_a_key_of_its_own(place: Place) -> None:
    keys = set()
    for _ in range(2):
        place.run(SETTINGS)
        file = place.folder / ".env"
        assert file.stat().st_mode & 0o077 == 0
        settings = load_settings(file)
        assert settings.secret_key is not None
        keys.add(str(file.read_text()))
        file.unlink()
    assert len(keys) == 2


def test_the_settings_of_an_authorization_server_apart_are_valid(place: Place) -> None:
    place.run(SETTINGS)
    with (place.folder / ".env").open("a") as file:
        file.write(APART)
    settings = load_settings(place.folder / ".env")
    assert (settings.auth_mode, str(settings.auth_server_url).rstrip("/")) == ("separate", "https://login.example.com")
