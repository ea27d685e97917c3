"""From layers to a configuration. Whatever is wrong ends as one `ConfigurationError` that says where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from switchboard.config.complaints import complaints, where
from switchboard.config.expansion import UnresolvedReference, expanded
from switchboard.config.formats import parsed
from switchboard.config.layers import Layer, from_environment, merged
from switchboard.config.model import BUILT_IN, DEMO, Configuration, PluginSection, provider_name
from switchboard.config.rows import SECTION, rows, switched_off
from switchboard.errors import ConfigurationError


def read(
    path: Path | None,
    variables: Mapping[str, str],
    *,
    overlay: Sequence[Mapping[str, Any]] = (),
    plugins: Iterable[str] = (),
) -> Configuration:
    """The configuration in force; the built-in one when no layer says anything.

    Args:
        path: the file; none is fine.
        variables: the environment: for `${VAR}`, and for the layer above the file.
        overlay: the uppermost layer, as patches in the order in which they apply.
        plugins: names of plugins that are enabled unless a layer says otherwise.

    Raises:
        ConfigurationError: naming the layer, the place in it, and the value as written (never as expanded: an expanded
            value may be a secret).
    """
    return validated(layers(path, variables, overlay=overlay, plugins=plugins), variables, folder(path))


def folder(path: Path | None) -> Path:
    """What relative paths in a configuration are relative to."""
    return path.parent if path is not None else Path()


def layers(
    path: Path | None,
    variables: Mapping[str, str],
    *,
    overlay: Sequence[Mapping[str, Any]] = (),
    plugins: Iterable[str] = (),
) -> tuple[Layer, ...]:
    """The layers above the built-in defaults, as written.

    Raises:
        ConfigurationError: one cannot be read.
    """
    found = {name: dict[str, Any]() for name in plugins}
    beneath = [Layer(PLUGINS_FOLDER, {"plugins": found})] if found else []
    file = [Layer(str(path), parsed(path))] if path is not None else []
    above = [from_environment(variables), *(Layer("the overlay", patch) for patch in overlay)]
    return (*beneath, *file, *(layer for layer in above if layer.document))


def validated(written: Sequence[Layer], variables: Mapping[str, str], base: Path = Path()) -> Configuration:
    """The configuration that the layers make. A row of `mcpServers` that is wrong is in its `broken`, and not served.

    Args:
        written: the layers.
        variables: what references stand for.
        base: what relative paths are relative to: the file's folder.

    Raises:
        ConfigurationError: something else than a server is wrong; with a line for each mistake.
    """
    if not written:
        return Configuration()
    document = _without_desktop_keys(merged(written), written)
    try:
        rest = {key: _section(key, value, variables) for key, value in document.items() if key != SECTION}
    except UnresolvedReference as error:
        raise ConfigurationError(f"{where(written, error.path)}: {error}") from error
    document = {**rest, SECTION: document[SECTION]} if SECTION in document else rest
    plugins = document.get("plugins")
    on = plugins.items() if isinstance(plugins, Mapping) else ()
    taken = {name for name, row in on if not switched_off(row, variables)}
    servers = document.get(SECTION, {})
    found = rows(servers, written, variables, taken, base) if isinstance(servers, Mapping) else None
    if found is not None:
        document = {**_above_built_in(document), SECTION: found.sections}
    try:
        configuration = Configuration.model_validate(document, context={"broken": found.broken if found else {}})
    except ValidationError as error:
        raise ConfigurationError("\n".join(complaints(written, error, Configuration))) from None
    return configuration


PLUGINS_FOLDER: Final = "the plugins folder"
"""The lowest layer, which has a row for each plugin in that folder."""

_OWN_KEYS: Final = frozenset({"separator", "plugins", "presets", "tool_search"})
_DESKTOP_KEYS: Final = frozenset({"globalShortcut", "preferences", "scale", "locale", "userThemeMode", "inputs"})


def _without_desktop_keys(document: Mapping[str, Any], written: Sequence[Layer]) -> Mapping[str, Any]:
    """Without what desktop clients keep beside `mcpServers`, which has no effect here.

    In a file with nothing of ours that is every other key, but for one that looks like a slip in one of ours.
    """
    known = {"$schema", SECTION, *_OWN_KEYS}
    own = merged([layer for layer in written if layer.origin != PLUGINS_FOLDER])
    is_desktops = SECTION in document and not _OWN_KEYS & own.keys()
    return {
        key: value
        for key, value in document.items()
        if key not in _DESKTOP_KEYS
        and (key in known or not is_desktops or difflib.get_close_matches(str(key), known, n=1, cutoff=0.7))
    }


def _section(key: str, value: object, variables: Mapping[str, str]) -> object:
    """A section with its references replaced, but for those of plugins that are switched off."""
    if key != "plugins" or not isinstance(value, Mapping):
        return expanded(value, variables, (key,))
    return {
        name: row if switched_off(row, variables) else expanded(row, variables, (key, name))
        for name, row in value.items()
    }


def _above_built_in(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Lay the file's plugins over the built-in ones, so that a row states only what differs.

    The demo steps back once there are servers, and a built-in plugin gives way to a server of its name, unless the file
    has a row for the plugin.
    """
    mentioned = document.get("plugins", {})
    if not isinstance(mentioned, Mapping):
        return document
    beneath: dict[str, object] = {name: section.model_dump() for name, section in BUILT_IN.items()}
    if document.get(SECTION):
        servers = {provider_name(str(name)) for name in document[SECTION]}
        beneath[DEMO] = BUILT_IN[DEMO].model_copy(update={"enabled": False}).model_dump()
        beneath = {name: row for name, row in beneath.items() if name not in servers}
    above = {
        name: {"enabled": True, **_prefix(BUILT_IN.get(name)), **row} if isinstance(row, Mapping) else row
        for name, row in mentioned.items()
    }
    return {**document, "plugins": {**beneath, **above}}


def _prefix(built_in: PluginSection | None) -> Mapping[str, object]:
    return {"prefix": built_in.prefix} if built_in is not None else {}
