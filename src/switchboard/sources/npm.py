"""`source: npm`: a package in a folder of its own."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from switchboard.config import ServerSection
from switchboard.sources import node
from switchboard.sources.install_cache import Facts, installed
from switchboard.sources.installer import run
from switchboard.sources.launch import Launch, SourceContext, SourceFailure


async def prepare(name: str, section: ServerSection, context: SourceContext) -> Launch:
    """Install it once, pinned; start what it brings."""
    wanted = {"package": section.package or "", "version": section.version or ""}
    say = partial(context.say, name)

    async def install(folder: Path) -> Facts:
        spec = f"{section.package}@{section.version}" if section.version else str(section.package)
        (folder / "package.json").write_text('{"private": true}\n', encoding="utf-8")
        say(f"installing {spec} from npm")
        await run(
            "npm", "install", spec, "--prefix", folder, "--save-exact", *node.QUIET,
            worker=context.environment, say=say, cwd=folder,
        )  # fmt: skip
        package = _installed(folder)
        version = str(node.manifest(folder / "node_modules" / package).get("version", ""))
        say(f"installed {package} {version}")
        return {"package": package, "version": version}

    done = await installed(context.cache, "npm", wanted, install)
    package = done.facts["package"]
    home = done.folder / "node_modules" / package
    chosen = node.program(node.manifest(home), section.bin)
    if chosen is None:
        raise SourceFailure(f"{package} brings no program to start")
    return Launch(
        "node",
        (str((home / chosen[1]).resolve()), *section.args),
        section.env,
        context.path(section.cwd) if section.cwd else None,
        pinned=f"{package} {done.facts['version']}",
    )


def _installed(folder: Path) -> str:
    """What npm calls what it installed: a path or a URL was given perhaps, and a name came of it."""
    saved = json.loads((folder / "package.json").read_text(encoding="utf-8")).get("dependencies", {})
    if len(saved) != 1:
        raise SourceFailure(f"npm installed {len(saved)} packages instead of one")
    return str(next(iter(saved)))
