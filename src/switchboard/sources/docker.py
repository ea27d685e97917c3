"""`source: docker`: a container for each connection, removed when it ends. Met by tests as an argument list only."""

from __future__ import annotations

import shutil

from switchboard.config import ServerSection
from switchboard.sources.launch import Launch, SourceContext, SourceFailure


async def prepare(name: str, section: ServerSection, context: SourceContext) -> Launch:
    """The `docker run` that starts it. The image is fetched by Docker itself, when it is not there."""
    if shutil.which("docker", path=context.environment.get("PATH")) is None:
        raise SourceFailure("there is no program 'docker' on the PATH")
    image = tagged(section.image or "", section.version)
    return Launch("docker", arguments(name, image, section), section.env, pinned=image)


def arguments(name: str, image: str, section: ServerSection) -> tuple[str, ...]:
    """`-i` keeps its input open, `--init` reaps and passes signals on, `--rm` leaves nothing behind.

    Variables are named, not spelled out: their values go through Docker's own environment, where `ps` does not show
    them.
    """
    variables = (word for key in section.env for word in ("--env", key))
    label = ("--label", f"switchboard.server={name}")
    return ("run", "--rm", "--init", "--interactive", *label, *variables, *section.run_args, image, *section.args)


def tagged(image: str, version: str | None) -> str:
    """The image with its version: a tag, or a digest.

    Raises:
        SourceFailure: the image has a tag or digest already, and another was stated.
    """
    if version is None:
        return image
    last = image.rpartition("/")[2]
    if "@" in last or ":" in last:
        raise SourceFailure(f"the image {image!r} has a version already; `version` is {version!r}")
    return f"{image}@{version}" if version.startswith("sha256:") else f"{image}:{version}"
