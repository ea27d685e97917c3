"""Where the code of plugins is: in the plugins folder, or named by an entry point; and importing it, also anew.

A folder has one plugin in each file `NAME.py` and each package `NAME/`; `_` in such a name is `-` in the plugin's. What
begins with `_`, `.` or `test_`, and `conftest.py`, is none. Nothing is imported before a plugin is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Final, Literal

import structlog

from switchboard.config.model import ENTRY_POINTS
from switchboard.errors import ConfigurationError, PluginFailure, plainly

log = structlog.get_logger(__name__)

VARIABLE: Final = "plugin"
"""What a plugin in the folder is called in its own file."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_OTHERS_MAY_WRITE: Final = 0o002


@dataclass(frozen=True)
class PluginCode:
    """The code of one plugin. Nothing of it is imported yet."""

    name: str
    where: str
    """For people: the file, or the entry point."""

    module: str
    path: Path | None = None
    """The file, or the `__init__.py`, of a plugin in the folder."""

    point: EntryPoint | None = None

    def load(self, *, anew: bool = False) -> object:
        """Import it, and give what it says is the plugin.

        Args:
            anew: import its module and what stands below it again.

        Raises:
            PluginFailure: it cannot be imported.
        """
        try:
            with _forgotten(self.module, forget=anew or self.path is not None):
                return self._found(self.path)
        except BaseException as error:  # a boundary: to import a plugin runs its code, which may call sys.exit()
            raise PluginFailure(f"plugins.{self.name}: {type(error).__name__}: {plainly(error)}") from error

    def _found(self, path: Path | None) -> object:
        if path is None:
            return self.point.load() if self.point is not None else None
        module = _imported(self.module, path)
        if not hasattr(module, VARIABLE):
            raise AttributeError(f"{path} has no variable {VARIABLE!r}")
        return getattr(module, VARIABLE)


class PluginSources:
    """All plugins that could be enabled.

    Args:
        folder: the plugins folder, which need not be there yet.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._told: set[Path] = set()

    def in_folder(self) -> tuple[str, ...]:
        """The names of the plugins in the folder."""
        return tuple(self._files())

    def code(self) -> Mapping[str, PluginCode]:
        """All plugins that are installed or in the folder, by name.

        Raises:
            ConfigurationError: the folder cannot be used.
        """
        points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
        files = {
            name: path
            for name, path in self._files().items()
            if name not in points or self._ignored(path, "has the name of a plugin that is installed")
        }
        installed = {
            name: PluginCode(name, f"entry point {point.value}", point.module, point=point)
            for name, point in points.items()
        }
        found = {name: PluginCode(name, str(path), _module(name), path) for name, path in files.items()}
        return installed | found

    def find(self, names: Iterable[str]) -> Mapping[str, PluginCode]:
        """The code of these plugins.

        Raises:
            ConfigurationError: naming the first that is not there, and those that are.
        """
        names, known = tuple(names), self.code()
        unknown = next((name for name in names if name not in known), None)
        if unknown is not None:
            there = ", ".join(sorted(known)) or "none"
            folder = f" in {self.folder}" if self.folder else ""
            raise ConfigurationError(
                f"plugins.{unknown}: no such plugin is installed{' or' + folder if folder else ''}; there are: {there}"
            )
        return {name: known[name] for name in names}

    def concerned(self, changed: Iterable[str]) -> set[str]:
        """The plugins in the folder to which these files belong."""
        files = self._files()
        roots = {name: path.parent if path.name == "__init__.py" else path for name, path in files.items()}
        paths = [Path(each) for each in changed]
        return {name for name, root in roots.items() if any(path.is_relative_to(root.absolute()) for path in paths)}

    def _files(self) -> dict[str, Path]:
        """Plugin → its file, or the `__init__.py` of its package."""
        folder = self.folder
        if folder is None or not folder.exists():
            return {}
        if not folder.is_dir():
            raise ConfigurationError(f"PLUGINS_DIR={folder} is no folder")
        if folder.stat().st_mode & _OTHERS_MAY_WRITE:
            raise ConfigurationError(
                f"PLUGINS_DIR={folder} can be written by anybody on this machine, who could run code here:"
                f" chmod o-w {folder}"
            )
        found: dict[str, Path] = {}
        for name, path in _candidates(folder):
            if not _NAME.fullmatch(name):
                self._ignored(path, "is no name of a plugin: small letters, digits and '_' only, 64 at most")
            elif name in found:
                self._ignored(path, f"has the same name as {found[name]}")
            else:
                found[name] = path
        return found

    def _ignored(self, path: Path, reason: str) -> Literal[False]:
        """Say once that a file is not used."""
        if path not in self._told:
            self._told.add(path)
            log.warning("plugin.file_ignored", path=str(path), reason=reason)
        return False


def _candidates(folder: Path) -> Iterator[tuple[str, Path]]:
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(("_", ".", "test_")) or entry.name == "conftest.py":
            continue
        is_package = (entry / "__init__.py").is_file()
        if not is_package and entry.suffix != ".py":
            continue
        yield entry.stem.replace("_", "-"), entry / "__init__.py" if is_package else entry


def _module(name: str) -> str:
    """What the module of a plugin in the folder is called: not as any other that could be imported."""
    return f"switchboard_plugin_{name.replace('-', '_')}"


class _Uncached(SourceFileLoader):
    """Compiles the file as it is now: a compiled copy counts as new for a second after the file was changed."""

    def path_stats(self, path: str) -> Mapping[str, object]:
        raise OSError(path)


def _imported(name: str, path: Path) -> ModuleType:
    importlib.invalidate_caches()
    below = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(
        name, path, loader=_Uncached(name, str(path)), submodule_search_locations=below
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def _forgotten(module: str, *, forget: bool) -> Iterator[None]:
    """Within this, the module and what stands below it count as not imported; if it fails, the former ones are back."""

    def below() -> dict[str, ModuleType]:
        return {
            name: each for name, each in list(sys.modules.items()) if name == module or name.startswith(f"{module}.")
        }

    before = below() if forget else {}
    for name in before:
        del sys.modules[name]
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, sys.dont_write_bytecode or forget
    try:
        yield
    except BaseException:
        if forget:
            for name in below():
                del sys.modules[name]
            sys.modules.update(before)
        raise
    finally:
        sys.dont_write_bytecode = writes
