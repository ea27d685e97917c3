"""Sources that install nothing, installers as such, and the cache."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog

from switchboard.config import ServerSection
from switchboard.sources import SourceContext, SourceFailure, prepare
from switchboard.sources.docker import tagged
from switchboard.sources.install_cache import installed, place
from switchboard.sources.installer import environment, run

Section = Callable[..., ServerSection]

STAND_IN = """#!/bin/sh
echo "$@" > "{record}"
env > "{record}.env"
exec node "{server}"
"""


async def test_docker_is_given_what_starts_the_container_and_the_server_speaks(
    heard: Any, section: Section, tools_of: Any, node_project: Path, tmp_path: Path
) -> None:
    record, folder = tmp_path / "record", tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text(STAND_IN.format(record=record, server=node_project / "server.js"))
    (folder / "docker").chmod(0o700)
    path = f"{folder}:{os.environ['PATH']}"
    described = section(
        source="docker", image="ghcr.io/x/y", version="1.2", env={"KEY": "hunter2", "PATH": path}, args=["--stdio"],
        run_args=["--network", "none", "--volume", "/srv:/srv:ro"],
    )  # fmt: skip
    context = replace(heard.context, environment={"PATH": path})
    launch = await prepare("box", described, context)
    assert await tools_of(launch) == ["node_tool"]
    assert record.read_text().strip() == (
        "run --rm --init --interactive --label switchboard.server=box --env KEY --env PATH"
        " --network none --volume /srv:/srv:ro ghcr.io/x/y:1.2 --stdio"
    )
    assert "KEY=hunter2" in record.with_name("record.env").read_text()


@pytest.mark.parametrize(
    ("image", "version", "result"),
    [
        ("a", None, "a"),
        ("host:5000/a", "1", "host:5000/a:1"),
        ("a", "sha256:00", "a@sha256:00"),
    ],
)
def test_an_image_gets_its_version(image: str, version: str | None, result: str) -> None:
    assert tagged(image, version) == result


@pytest.mark.parametrize("image", ["a:1", "a@sha256:00"])
def test_an_image_with_a_version_takes_no_second_one(image: str) -> None:
    with pytest.raises(SourceFailure, match="has a version already"):
        tagged(image, "2")


async def test_a_command_is_found_on_the_path_or_beside_the_configuration(
    heard: Any, section: Section, tmp_path: Path
) -> None:
    launch = await prepare("c", section(command="sh", args=["-c", "x"], env={"A": "b"}, cwd="."), heard.context)
    assert (Path(launch.command).name, launch.args, launch.env) == ("sh", ("-c", "x"), {"A": "b"})
    assert launch.cwd == tmp_path
    (tmp_path / "mine").write_text("")
    assert (await prepare("c", section(command="./mine"), heard.context)).command == str(tmp_path / "mine")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"command": "no-such-program"}, "c: the program 'no-such-program' is not on the PATH"),
        ({"command": "./gone"}, "c: the program './gone' is not there"),
        ({"command": "sh", "cwd": "gone"}, "gone is not there"),
        ({"source": "docker", "image": "x"}, "c: there is no program 'docker' on the PATH"),
        ({"source": "pypi", "package": "a==1"}, "is not the name of a package"),
        ({"source": "npm", "package": "a"}, "'npm' cannot be started"),
        ({"url": "https://a"}, "is not started here"),
    ],
)
async def test_what_cannot_be_started_is_said(heard: Any, section: Section, row: dict[str, Any], reason: str) -> None:
    with pytest.raises(SourceFailure) as caught:
        await prepare("c", section(**row), replace(heard.context, environment={"PATH": "/nowhere"}))
    assert reason in str(caught.value)


def test_installers_know_where_packages_come_from_and_none_of_the_workers_secrets() -> None:
    worker = {
        "PATH": "/bin", "HTTPS_PROXY": "http://p", "NODE_EXTRA_CA_CERTS": "/ca", "PIP_INDEX_URL": "u",
        "npm_config_registry": "r", "SECRET_KEY": "hunter2", "REDIS_URL": "redis://:hunter2@h", "AWS_SECRET": "hunter2",
    }  # fmt: skip
    assert environment(worker, {"MORE": "1"}) == {
        "PATH": "/bin", "HTTPS_PROXY": "http://p", "NODE_EXTRA_CA_CERTS": "/ca", "PIP_INDEX_URL": "u",
        "npm_config_registry": "r", "MORE": "1",
    }  # fmt: skip


async def test_an_installer_that_fails_says_why_without_a_credential() -> None:
    said: list[str] = []
    script = "import sys; print('one'); print('https://u:hunter2@host/', file=sys.stderr); sys.exit(3)"
    with pytest.raises(SourceFailure) as caught:
        await run(sys.executable, "-c", script, worker=os.environ, say=said.append)
    assert "failed with exit code 3" in str(caught.value)
    assert "[redacted]@host" in str(caught.value)
    assert "hunter2" not in str(caught.value) + "".join(said)


async def test_an_installer_that_never_ends_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    script = f"sleep 600 & echo $! > {tmp_path}/child; sleep 600"
    with pytest.raises(SourceFailure, match="did not end within 1 s"):
        await run("sh", "-c", script, worker=os.environ, say=lambda _line: None, patience=1)
    child = int((tmp_path / "child").read_text())
    async with asyncio.timeout(60):
        while _alive(child):
            await asyncio.sleep(0.01)


def test_an_installer_that_is_cut_off_is_gone_when_that_is_said() -> None:
    for _ in range(5):
        with pytest.raises(SourceFailure, match="did not end within"):
            asyncio.run(run("sleep", "600", worker=os.environ, say=lambda _line: None, patience=0.05))
        gc.collect()  # a process that nobody waited for complains here, and warnings are errors


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


async def test_many_who_want_the_same_install_it_once(heard: Any) -> None:
    context: SourceContext = heard.context
    times = 0

    async def install(folder: Path) -> dict[str, str]:
        nonlocal times
        times += 1
        await asyncio.sleep(0)
        (folder / "thing").write_text("x")
        return {"version": "1"}

    async with asyncio.TaskGroup() as tasks:
        going = [tasks.create_task(installed(context.cache, "npm", {"package": "a"}, install)) for _ in range(5)]
    assert times == 1
    assert {(task.result().folder, task.result().facts["version"]) for task in going} == {
        (place(context.cache, "npm", {"package": "a"}), "1")
    }
    assert sorted(task.result().fresh for task in going) == [False] * 4 + [True]


async def test_what_an_interrupted_install_left_is_made_anew(heard: Any) -> None:
    wanted = {"package": "a"}

    async def interrupted(folder: Path) -> dict[str, str]:
        (folder / "half").write_text("x")
        raise SourceFailure("interrupted")

    async def whole(folder: Path) -> dict[str, str]:
        return {"left": json.dumps(os.listdir(folder))}

    with pytest.raises(SourceFailure):
        await installed(heard.context.cache, "npm", wanted, interrupted)
    assert (await installed(heard.context.cache, "npm", wanted, whole)).facts == {"left": "[]"}


async def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def install(_folder: Path) -> dict[str, str]:
        return {}

    with pytest.raises(SourceFailure, match=r"the cache folder .*file cannot be used"):
        await installed(tmp_path / "file", "npm", {"package": "a"}, install)


async def test_what_an_installer_prints_is_kept_for_its_failure_and_not_logged_line_by_line() -> None:
    context = SourceContext(Path(), os.environ)
    with structlog.testing.capture_logs() as logs:
        context.say("x", "installing x from PyPI")
        await run(sys.executable, "-c", "print('Collecting x')", worker=os.environ, say=partial(context.say, "x"))
    assert [(row["log_level"], row["step"]) for row in logs] == [
        ("info", "installing x from PyPI"),
        ("debug", "Collecting x"),
    ]


@pytest.mark.parametrize("others", ["the folder that holds it", "the folder"])
async def test_nothing_is_started_from_a_cache_folder_that_other_users_can_write(tmp_path: Path, others: str) -> None:
    async def install(folder: Path) -> dict[str, str]:
        return {"left": "whole"}

    wanted = {"package": "a"}
    folder = (await installed(tmp_path, "npm", wanted, install)).folder
    opened = folder if others == "the folder" else folder.parent
    opened.chmod(0o777)
    with pytest.raises(SourceFailure, match=f"{opened} can be written by other users"):
        await installed(tmp_path, "npm", wanted, install)


async def test_nothing_is_installed_through_a_link(tmp_path: Path) -> None:
    async def install(folder: Path) -> dict[str, str]:
        return {}

    wanted, made = {"package": "a"}, tmp_path / "made"
    folder = place(tmp_path, "npm", wanted)
    folder.parent.mkdir()
    folder.with_name(f"{folder.name}.lock").symlink_to(made)
    with pytest.raises(SourceFailure, match="is a symbolic link, which is not followed"):
        await installed(tmp_path, "npm", wanted, install)
    assert not made.exists()
