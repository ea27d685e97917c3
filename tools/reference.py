"""docs/configuration.md, written from the models of the configuration. `python tools/reference.py` writes it anew, the
tables of docs/lab.md, and docs/cli.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from switchboard.config import Configuration, Preset, ServerSection, ToolSearch
from switchboard.config.auth import Auth, IdentityProvider
from switchboard.config.exposure import Exposure, ToolRule
from switchboard.config.model import PluginLimits, PluginSection
from switchboard.config.servers import NEEDS
from switchboard.lab.scenarios import SCENARIOS
from tools import cli_reference
from tools.lab import results

PAGE: Final = Path(__file__).parents[1] / "docs" / "configuration.md"

HEAD: Final = """# The configuration file, key by key

Written from the code by `make reference`; a test compares it. [gateway.md](gateway.md) says what the layers are and
which one wins, `examples/` has whole files, `switchboard config check` looks at yours, and `switchboard config schema`
prints a JSON Schema for editors. `${VAR}` and `${VAR:-default}` are expanded wherever a text stands.
"""

PARTS: Final[tuple[tuple[str, str, type[BaseModel], type[BaseModel] | None], ...]] = (
    ("The file", "", Configuration, None),
    ("Plugins and servers alike", "In each row of `plugins` and of `mcpServers`.", Exposure, None),
    ("`plugins.NAME`", "Beside those above.", PluginSection, Exposure),
    ("`plugins.NAME.limits`", "Of a plugin with `isolation: process`.", PluginLimits, None),
    ("`mcpServers.NAME`", "Beside those above.", ServerSection, Exposure),
    ("`mcpServers.NAME.auth`", "[gateway.md](gateway.md#credentials) says which strategy is for what.", Auth, None),
    ("`mcpServers.NAME.auth.idp`", "A URL, which is its `issuer`, or an object.", IdentityProvider, None),
    ("`tools.PATTERN`", "In a row of `plugins` or `mcpServers`.", ToolRule, None),
    ("`presets.NAME`", "Chosen by `/mcp?preset=NAME`, on `/sse` and WebSocket too.", Preset, None),
    ("`tool_search`", "", ToolSearch, None),
)


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, lead, model, without in PARTS:
        parts += [f"## {title}\n", *([f"{lead}\n"] if lead else []), _table(model, without)]
        if model is ServerSection:
            parts += ["### What each source takes\n", _sources()]
    return "\n".join(parts).rstrip() + "\n"


LAB: Final = PAGE.with_name("lab.md")
LAB_MARKS: Final = ("<!-- scenarios: written by make reference -->", "<!-- end of scenarios -->")
LAB_RESULTS: Final = ("<!-- results: written by make reference -->", "<!-- end of results -->")


def lab_page() -> str:
    """docs/lab.md with the table of scenarios as the code has them, and those of results as results.json has them."""
    rows = [
        f"| `{each.name}` | {each.about} | [{each.rule.text}]({each.rule.url}) | {each.right} | {each.wrong} |"
        for each in SCENARIOS
    ]
    table = ["| scenario | what is done | rule | a right client | a wrong one |", "|---|---|---|---|---|", *rows]
    page = _between(LAB.read_text(), LAB_MARKS, "\n".join(table))
    return _between(page, LAB_RESULTS, results.tables(results.read()))


def _between(page: str, marks: tuple[str, str], text: str) -> str:
    before, _, rest = page.partition(marks[0])
    return f"{before}{marks[0]}\n\n{text}\n\n{marks[1]}{rest.partition(marks[1])[2]}"


def _table(model: type[BaseModel], without: type[BaseModel] | None) -> str:
    known = without.model_fields if without is not None else {}
    rows = [
        f"| `{_written(name, field)}` | {_default(field)} | {_said(field)} |"
        for name, field in model.model_fields.items()
        if name not in known
    ]
    return "\n".join(["| key | default | |", "|---|---|---|", *rows, ""])


def _written(name: str, field: FieldInfo) -> str:
    other = getattr(field.validation_alias, "choices", None)
    return str(other[0]) if other else field.alias or name


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None or field.default is PydanticUndefined:
        return ""
    value: Any = field.default
    if value in (None, "", ()) or isinstance(value, BaseModel):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _said(field: FieldInfo) -> str:
    words = " ".join((field.description or "").split()).replace("|", "\\|")
    choices = _choices(field.annotation)
    return f"{words} One of {', '.join(f'`{one}`' for one in choices)}." if choices else words


def _choices(annotation: Any) -> tuple[str, ...]:
    """What a field may be, if that is one of a few words."""
    for one in (annotation, *get_args(annotation)):
        if get_origin(one) is Literal:
            return get_args(one)
    return ()


def _sources() -> str:
    rows = [
        f"| `{kind}` | {' and '.join(' or '.join(f'`{one}`' for one in group) for group in needs.required)} "
        f"| {', '.join(f'`{one}`' for one in needs.optional if [one] not in needs.required)} |"
        for kind, needs in NEEDS.items()
    ]
    return "\n".join(["| `source` | needs | also takes |", "|---|---|---|", *rows, ""])


if __name__ == "__main__":
    PAGE.write_text(page())
    LAB.write_text(lab_page())
    cli_reference.PAGE.write_text(cli_reference.page())
