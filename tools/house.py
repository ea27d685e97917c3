"""The rules of the house that no other checker knows: `python -m tools.house`, run by `make check`.

| rule | what is read |
|---|---|
| a room's docstring is true | `May import: …` and `Never imports: …` of each `__init__.py`, beside the imports |
| a folder holds 18 modules at most | the tree |
| a module has 40 lines at least, and 400 at most | the tree |
| words that the glossary replaced name nothing | modules, classes, functions and constants |
| what is declared is imported | `dependencies` of pyproject.toml |

house.toml lists the exceptions, each with its reason.

A statement lists rooms and modules of the same top-level package by name ("state", "sessions.records"), and others by
their full name ("switchboard.state", "redis"). "leaves" are what the lists of layers in pyproject.toml have below
`switchboard.state` and, within auth_server, below its `store`. `May import` is about our own packages alone, and
complete ("any room" is all of them); `Never imports` may name anything that can be imported. Sub-rooms need not say it.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = {"switchboard": "src/switchboard", "auth_server": "auth_server", "tools": "tools"}
PRODUCT: Final = ("switchboard", "auth_server")
MOST_MODULES, FEWEST_LINES, MOST_LINES = 18, 40, 400
OWN_LENGTH: Final = ("__init__.py", "__main__.py")
"""Files that may be as short as they are: a room's docstring, and an entry point."""

_MAY: Final = re.compile(r"\bMay import: ([^:]+?)\.(?:\s|$)")
_NEVER: Final = re.compile(r"\bNever imports: ([^:]+?)\.(?:\s|$)")


@dataclass(frozen=True)
class Module:
    """One file of ours."""

    name: str
    path: Path
    folder: str
    """Its folder, from the root of the repository."""

    @cached_property
    def tree(self) -> ast.Module:
        """What it says."""
        return ast.parse(self.path.read_text())

    @property
    def file(self) -> str:
        """Its path from the root of the repository."""
        return f"{self.folder}/{self.path.name}"

    def imports(self) -> set[str]:
        """The full names that it imports, whatever a `from` takes out of a module being part of its name."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
        return found

    def names(self) -> Iterator[str]:
        """The classes, functions and constants that it defines."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                yield from (each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))


@dataclass(frozen=True)
class House:
    """A repository, and what its house.toml and pyproject.toml say."""

    root: Path
    rules: Mapping[str, Any]
    project: Mapping[str, Any]

    @classmethod
    def at(cls, root: Path) -> House:
        """Read one."""
        rules = tomllib.loads((root / "tools" / "house.toml").read_text())
        return cls(root, rules, tomllib.loads((root / "pyproject.toml").read_text()))

    @cached_property
    def modules(self) -> tuple[Module, ...]:
        """All of ours, in order."""
        return tuple(
            Module(
                ".".join((package, *path.relative_to(self.root / folder).with_suffix("").parts)).removesuffix(
                    ".__init__"
                ),
                path,
                str(path.parent.relative_to(self.root)),
            )
            for package, folder in PACKAGES.items()
            for path in sorted((self.root / folder).rglob("*.py"))
        )

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        """What stands below `switchboard.state`, and below `store` in auth_server, in the lists of layers."""
        return (*self._below("rooms", "switchboard.state"), *self._below("authorization-server-rooms", "store"))

    def _below(self, contract: str, layer: str) -> Iterator[str]:
        found = (each for each in self.project["tool"]["importlinter"]["contracts"] if each["id"] == contract)
        for each in found:
            prefix = "".join(f"{container}." for container in each.get("containers", ()))
            layers = [re.findall(r"[\w.]+", names) for names in each["layers"]]
            at = next(number for number, names in enumerate(layers) if layer in names)
            yield from (f"{prefix}{name}" for names in layers[at + 1 :] for name in names)

    def excused(self, rule: str) -> set[str]:
        """What a rule does not hold for."""
        return set(self.rules.get(rule, ()))

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """(rule, what breaks it, how), the excused ones too."""
        yield from self._rooms()
        yield from self._sizes()
        yield from self._words()
        yield from self._dependencies()

    def _rooms(self) -> Iterator[tuple[str, str, str]]:
        for room in self.modules:
            if room.path.name != "__init__.py" or not room.name.startswith(PRODUCT) or "." not in room.name:
                continue
            inside = [each for each in self.modules if within(each.name, [room.name])]
            imported = {name: each.name for each in inside for name in each.imports()}
            docstring = ast.get_docstring(room.tree) or ""
            may, never = _listed(_MAY, docstring), _listed(_NEVER, docstring)
            if not may and room.name.count(".") > 1:
                continue
            if not may:
                yield "rooms", room.name, "its docstring has no `May import: …`"
                continue
            allowed, forbidden = self._resolved(room, may), self._resolved(room, never)
            home = ".".join(room.name.split(".")[:2])
            for name in [*allowed, *forbidden]:
                if not (self._ours(name) or (name in forbidden and _can_be_imported(name))):
                    yield "docstrings", room.name, f"{name} is named, and does not exist"
            for name, where in sorted(imported.items()):
                if within(name, forbidden):
                    yield "docstrings", room.name, f"{where} imports {name}, which its docstring says is never done"
                elif name.startswith(tuple(f"{each}." for each in PRODUCT)) and not within(name, [home, *allowed]):
                    yield "docstrings", room.name, f"{where} imports {name}, which its docstring does not list"

    def _resolved(self, room: Module, listed: Iterable[str]) -> list[str]:
        package = room.name.split(".")[0]
        ours = {each.name for each in self.modules}
        found: list[str] = []
        for name in listed:
            if name == "any room":
                found += PRODUCT
            elif name == "leaves":
                found += [each for each in self.leaves if within(each, [package, "switchboard"])]
            else:
                found.append(f"{package}.{name}" if f"{package}.{name}" in ours else name)
        return found

    def _ours(self, name: str) -> bool:
        return name in self.leaves or any(each.name == name for each in self.modules)

    def _sizes(self) -> Iterator[tuple[str, str, str]]:
        for folder in sorted({each.folder for each in self.modules}):
            count = sum(each.folder == folder for each in self.modules)
            if count > MOST_MODULES:
                yield "folders", folder, f"holds {count} modules, more than {MOST_MODULES}"
        for module in self.modules:
            lines = len(module.path.read_text().splitlines())
            if lines < FEWEST_LINES and module.path.name not in OWN_LENGTH:
                yield "short", module.file, f"has {lines} lines, fewer than {FEWEST_LINES}"
            if lines > MOST_LINES:
                yield "long", module.file, f"has {lines} lines, more than {MOST_LINES}"

    def _words(self) -> Iterator[tuple[str, str, str]]:
        everywhere = set(self.rules["words"]["names"])
        for module in self.modules:
            for name in sorted(everywhere.intersection(module.names())):
                yield "names", f"{module.file}:{name}", f"{name} is a word that the glossary replaced"
            for folder, gone in self.rules["words"]["modules"].items():
                if within(module.name, [folder]) and module.name.rsplit(".", 1)[-1] in gone:
                    yield "names", module.file, "its name is a word that the glossary replaced"

    def _dependencies(self) -> Iterator[tuple[str, str, str]]:
        declared = [_normal(re.split(r"[^\w.-]", each)[0]) for each in self.project["project"]["dependencies"]]
        tops = {name.split(".")[0] for each in self.modules if within(each.name, PRODUCT) for name in each.imports()}
        brought = packages_distributions()
        used = {_normal(name) for top in tops for name in brought.get(top, ())}
        for name in declared:
            if name not in used:
                yield "dependencies", name, "is declared, and nothing imports it"


def _normal(name: str) -> str:
    """The name of a distribution, however it is written: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def within(name: str, packages: Iterable[str]) -> bool:
    """Whether a full name is one of these, or stands in one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _can_be_imported(name: str) -> bool:
    top = name.split(".")[0]
    return top not in PACKAGES and find_spec(top) is not None


def _listed(statement: re.Pattern[str], docstring: str) -> list[str]:
    found = statement.search(" ".join(docstring.split()))
    return [each.strip("` ") for each in found[1].split(",")] if found else []


RULES: Final = ("rooms", "docstrings", "folders", "short", "long", "names", "dependencies")


def main() -> None:
    """Print what breaks a rule and is not excused, and what is excused for nothing."""
    house = House.at(ROOT)
    faults = list(house.faults())
    broken = [f"{what}: {how}" for rule, what, how in faults if what not in house.excused(rule)]
    needed = {(rule, what) for rule, what, _how in faults}
    idle = [
        f"{what}: needs no exception"
        for rule in RULES
        for what in house.rules.get(rule, ())
        if (rule, what) not in needed
    ]
    print("\n".join([*broken, *idle]) or f"{len(house.modules)} modules in order.")
    sys.exit(bool(broken or idle))


if __name__ == "__main__":
    main()
