"""On which line of a file a place of its document stands."""

from __future__ import annotations

import re

import yaml

from switchboard.config.formats import without_comments
from switchboard.config.layers import Place


def line_of(text: str, suffix: str, place: Place) -> int | None:
    """The line, from 1, of `place`, or of what is nearest above it; nothing where the format does not tell."""
    if suffix == ".toml":
        return _in_toml(text, place)
    try:  # JSON without comments is YAML, but for tabs
        text = text if suffix in (".yaml", ".yml") else without_comments(text).replace("\t", " ")
        node = yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return None
    return _in_node(node, place)


def _in_node(node: yaml.Node | None, place: Place) -> int | None:
    line: int | None = None
    for step in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(step)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _in_toml(text: str, place: Place) -> int | None:
    """By the header of the table and the key below it; values written inline are found by their key's line."""
    names = [step for step in place if isinstance(step, str)]
    line: int | None = None
    depth = 0
    for number, written in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\[?\s*(.+?)\s*\]\]?\s*(#.*)?$", written)
        if header:
            table = [part.strip("\"' ") for part in re.split(r"\.(?=(?:[^\"']*[\"'][^\"']*[\"'])*[^\"']*$)", header[1])]
            depth = len(table) if table == names[: len(table)] else -1
            line = number if depth > 0 else line
        elif 0 <= depth < len(names) and re.match(rf"\s*[\"']?{re.escape(names[depth])}[\"']?\s*[=.]", written):
            return number
    return line
