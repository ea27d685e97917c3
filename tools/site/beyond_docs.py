"""A hook of MkDocs: what documents link to outside `docs/` is part of the site as well.

The documents at the top of the repository become pages, other files (`.env.example`, deploy/nginx.conf, …) are copied
as they are to `files/`, and links are written anew accordingly. A link to a folder, or to what is not there, is left
for MkDocs to complain about.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
_LINK = re.compile(r"(\]\()(?!https?:|mailto:|#)([^)#\s]+)")
_CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the documents at the top, and each file that a document links to."""
    from mkdocs.structure.files import File

    documents = {ROOT / name for name in PAGES} | set((ROOT / "docs").glob("*.md"))
    linked = {target for document in documents for target in _linked(document)}
    for path in sorted(documents | linked):
        place = placed(path)
        if path.is_file() and files.get_file_from_path(place) is None:
            files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its links as they are in the site."""
    here = page.file.src_uri
    source = ROOT / here if here in PAGES else ROOT / "docs" / here

    def written(link: re.Match[str]) -> str:
        target = (source.parent / link[2]).resolve()
        return link[1] + posixpath.relpath(placed(target), posixpath.dirname(here) or ".")

    parts = _CODE.split(markdown)
    return "".join(part if number % 2 else _LINK.sub(written, part) for number, part in enumerate(parts))


def placed(path: Path) -> str:
    """Where a file of the repository is in the site."""
    name = path.resolve().relative_to(ROOT).as_posix()
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    if name == "README.md":
        return "index.md"
    # A file whose name begins with a dot is not copied by MkDocs.
    return name if name in PAGES else "files/" + name.replace("/.", "/").removeprefix(".")


def _linked(document: Path) -> set[Path]:
    text = _CODE.sub("", document.read_text())
    return {(document.parent / link[2]).resolve() for link in _LINK.finditer(text)}
