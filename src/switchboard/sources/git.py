"""`source: git`: a branch, tag or commit of a repository, checked out once and kept at the commit it was."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from switchboard.config import ServerSection
from switchboard.sources.install_cache import Facts, installed
from switchboard.sources.installer import run
from switchboard.sources.launch import Launch, SourceContext, SourceFailure
from switchboard.sources.project import Project
from switchboard.sources.project import prepare as prepare_project

_SCP: Final = re.compile(r"^[\w.-]+@[\w.-]+:(?!//)")
"""`git@host:path`, which git takes for ssh."""

_SECURE: Final = ("https", "ssh", "file", "git+ssh")
_OPEN: Final = ("http", "git")
_HOMELY: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_SETTINGS: Final = ("-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false")


async def prepare(name: str, section: ServerSection, context: SourceContext) -> Launch:
    """Check it out, and start what its folder tells."""
    url = address(section.repository or "", context, insecure=section.insecure)
    wanted = {"repository": url, "at": _reference(section)}
    say = partial(context.say, name)

    async def install(folder: Path) -> Facts:
        say(f"fetching {wanted['at']} of the repository")
        commit = await _checked_out(url, section, folder / "checkout", context, name)
        say(f"fetched commit {commit}")
        return {"commit": commit}

    done = await installed(context.cache, "git", wanted, install)
    checkout = (done.folder / "checkout").resolve()
    folder = (checkout / (section.path or ".")).resolve()
    if not folder.is_relative_to(checkout):
        raise SourceFailure(f"the path {section.path} leads out of the repository")
    if not folder.is_dir():
        raise SourceFailure(f"the repository has no folder {section.path}")
    commit = done.facts["commit"]
    identity = f"{url} {commit} {section.path or '.'}"
    return await prepare_project(Project(name, section, folder, context, identity, editable=False), f"commit {commit}")


def address(written: str, context: SourceContext, *, insecure: bool) -> str:
    """The repository's address as git may have it.

    Raises:
        SourceFailure: a scheme that runs programs, or one that anybody on the way can read and change.
    """
    if _SCP.match(written):
        return written
    parts = urlsplit(written)
    if not parts.scheme:
        return str(context.path(Path(written)))
    if parts.password:
        raise SourceFailure("the repository's URL has a password in it; use a credential helper of git, or ssh")
    if parts.scheme in _SECURE or (parts.scheme in _OPEN and (insecure or parts.hostname in _HOMELY)):
        return written
    if parts.scheme in _OPEN:
        raise SourceFailure(f"{parts.scheme}:// can be changed on the way; use https, or set `insecure: true`")
    raise SourceFailure(f"{parts.scheme}:// is not an address of a repository")


def _reference(section: ServerSection) -> str:
    if section.commit:
        return section.commit
    if section.tag:
        return f"refs/tags/{section.tag}"
    return f"refs/heads/{section.branch}" if section.branch else "HEAD"


async def _checked_out(url: str, section: ServerSection, folder: Path, context: SourceContext, name: str) -> str:
    """Check out; the commit."""
    settings = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": ":".join(("file", "https", "ssh", *(_OPEN if urlsplit(url).scheme in _OPEN else ()))),
    }
    say = partial(context.say, name)
    await run("git", "init", "--quiet", "--template=", folder, worker=context.environment, say=say, more=settings)
    git = partial(run, "git", *_SETTINGS, "-C", folder, worker=context.environment, say=say, more=settings)
    if section.commit:
        # A server need not give single commits away, and an abbreviated one is no name for it: fetch what leads there.
        await git("fetch", "--quiet", "--tags", "--", url, "+refs/heads/*:refs/remotes/origin/*")
        await git("checkout", "--quiet", "--detach", section.commit)
    else:
        await git("fetch", "--quiet", "--depth", "1", "--no-tags", "--", url, _reference(section))
        await git("checkout", "--quiet", "--detach", "FETCH_HEAD")
    return (await git("rev-parse", "HEAD")).strip()
