"""What deploy/koyeb and deploy/cloudflare tell a platform: settings that there are, and addresses that fit together."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from switchboard import __version__
from switchboard.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
CLOUDFLARE = DEPLOY / "cloudflare"
SECRET = {"SECRET_KEY", "REDIS_URL"}
REQUEST = """
import { forwarded } from "./forwarded.js";
const headers = {
  "CF-Connecting-IP": "203.0.113.9", "X-Forwarded-For": "198.51.100.1", "X-Forwarded-Host": "evil.example",
  "X-Forwarded-Proto": "http", "Forwarded": "for=198.51.100.1;host=evil.example", "Authorization": "Bearer abc",
};
const asked = new Request("https://mcp.example.com/tools/mcp?preset=dev", { method: "POST", body: "{}", headers });
const passed = forwarded(asked);
console.log(JSON.stringify({
  url: passed.url, method: passed.method, body: await passed.text(), headers: Object.fromEntries(passed.headers),
}));
"""


def definition(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DEPLOY / "koyeb" / f"{name}.json").read_text())["definition"]
    return loaded


def wrangler() -> dict[str, Any]:
    text = (CLOUDFLARE / "wrangler.jsonc").read_text()
    loaded: dict[str, Any] = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    return loaded


@pytest.mark.parametrize("name", ["workers", "gateway"])
def test_koyeb_is_told_settings_that_there_are_and_keeps_the_secret_ones_apart(name: str) -> None:
    told = definition(name)
    assert {each["key"].lower() for each in told["env"]} <= set(Settings.model_fields)
    assert {each["key"] for each in told["env"] if "secret" in each} == SECRET
    assert {each["key"] for each in told["env"] if "value" in each}.isdisjoint(SECRET)
    ports = {told["ports"][0]["port"], told["routes"][0]["port"], told["health_checks"][0]["http"]["port"]}
    assert ports == {int(each["value"]) for each in told["env"] if each["key"] == "PORT"}
    assert told["health_checks"][0]["http"]["path"] == "/healthz"
    assert told["docker"]["image"].partition(":")[2].removesuffix("-backends") == __version__


def test_koyeb_gives_many_workers_no_volume_and_one_gateway_the_folder_that_the_image_installs_into() -> None:
    (many,), (one,) = definition("workers")["scalings"], definition("gateway")["scalings"]
    assert 1 < many["min"] < many["max"]
    assert "volumes" not in definition("workers")
    assert one == {"min": 1, "max": 1}
    (volume,) = definition("gateway")["volumes"]
    assert f"VOLUME {volume['path']}\n" in (DEPLOY.parent / "Dockerfile").read_text()


def test_cloudflare_is_told_one_class_everywhere_and_settings_that_there_are() -> None:
    told, script = wrangler(), (CLOUDFLARE / "router.js").read_text()
    (container,), (binding,), (migration,) = (
        told["containers"], told["durable_objects"]["bindings"], told["migrations"],
    )  # fmt: skip
    assert container["class_name"] == binding["class_name"] == migration["new_sqlite_classes"][0] == "Switchboard"
    assert f"export class {container['class_name']} extends Container" in script
    assert f"env.{binding['name']}" in script
    assert (CLOUDFLARE / container["image"]).resolve() == DEPLOY.parent / "Dockerfile"
    assert int(told["vars"]["INSTANCES"]) <= container["max_instances"]
    names = set(re.findall(r"^    ([A-Z_]+):", script, re.MULTILINE))
    assert {name.lower() for name in names} <= set(Settings.model_fields)
    assert names >= SECRET | set(told["vars"]) - {"INSTANCES"}
    assert SECRET.isdisjoint(told["vars"])
    assert f"defaultPort = {Settings.model_fields['port'].default};" in script


def test_cloudflares_script_overwrites_what_a_client_wrote_of_itself_and_passes_the_rest_on() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    command = [node, "--input-type=module", "--eval", REQUEST]
    done = subprocess.run(command, cwd=CLOUDFLARE, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    passed = json.loads(done.stdout)
    assert (passed["method"], passed["url"]) == ("POST", "https://mcp.example.com/tools/mcp?preset=dev")
    assert passed["body"] == "{}"
    headers = passed["headers"]
    assert headers["authorization"] == "Bearer abc"
    assert {name: value for name, value in headers.items() if "forwarded" in name} == {
        "x-forwarded-for": "203.0.113.9",
        "x-forwarded-host": "mcp.example.com",
        "x-forwarded-proto": "https",
    }
