"""What is wrong with a configuration, as lines for people: where it stands, what was expected, what stands there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from switchboard.common.validation_messages import expected
from switchboard.config.exposure import MISTAKES
from switchboard.config.formats import read_text
from switchboard.config.layers import Layer, Place, merged, origin, value_at
from switchboard.config.line_numbers import line_of

_LONGEST_VALUE_SHOWN: Final = 80
_NEVER_SHOWN: Final = frozenset({"env", "headers", "client_secret", "args", "run_args", "url", "urls", "config"})


def complaints(written: Sequence[Layer], error: ValidationError, model: type[BaseModel], at: Place = ()) -> list[str]:
    """A line for each mistake.

    Args:
        written: the layers, for the place and the value as it is written there.
        error: what validating `model` found.
        model: what was validated.
        at: where in the document it stands.
    """
    return list(_lines(written, error, model, at))


def _lines(written: Sequence[Layer], error: ValidationError, model: type[BaseModel], at: Place) -> Iterator[str]:
    document = merged(written)
    for item in error.errors(include_url=False, include_input=False):
        found = tuple(step for step in item["loc"] if step != "[key]")
        place = (*at, *found)
        message = _message(item, found, model)
        yield f"{where(written, place)}: {message}{_value(document, place)}"


def where(written: Sequence[Layer], place: Place) -> str:
    """The layer and, if it is a file, the line, and the place in it."""
    name = origin(written, place)
    path = Path(name)
    line = line_of(read_text(path), path.suffix.lower(), place) if path.is_file() else None
    return f"{name}: {f'line {line}: ' if line else ''}{place_text(place)}"


def place_text(place: Place) -> str:
    """A place as people read it."""
    return ".".join(str(part) for part in place) or "the file"


def _message(item: ErrorDetails, place: Place, model: type[BaseModel]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return f"is not a known key{_meant(str(place[-1]), model_at(model, place[:-1]))}"
    if kind == "string_pattern_mismatch":
        return MISTAKES.get(str(context["pattern"]), f"must match {context['pattern']}")
    return expected(item)


def _meant(key: str, model: type[BaseModel] | None) -> str:
    known = [field.alias or name for name, field in model.model_fields.items()] if model else []
    near = {_plain(name): name for name in known}
    close = difflib.get_close_matches(_plain(key), near, n=1, cutoff=0.7)
    return f"; did you mean {near[close[0]]!r}?" if close else ""


def _plain(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "")


def model_at(model: Any, place: Place) -> type[BaseModel] | None:
    """The model of the object that stands at `place` of a document of `model`."""
    for step in place:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = next((f for name, f in model.model_fields.items() if step in (name, f.alias)), None)
            model = field.annotation if field else None
        model = _member(model)
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _member(annotation: Any) -> Any:
    """The model that a mapping, list or optional value is of; the annotation itself where it is one."""
    if isinstance(annotation, type) and not getattr(annotation, "__args__", None):
        return annotation
    inner = [_member(each) for each in getattr(annotation, "__args__", ())]
    return next((each for each in inner if isinstance(each, type) and issubclass(each, BaseModel)), None)


def _value(document: object, place: Place) -> str:
    """The value at `place` as it is written; nothing for a whole section, or where a secret may stand."""
    found = value_at(document, place)
    if found is ... or isinstance(found, dict | list) or _NEVER_SHOWN.intersection(place):
        return ""
    if re.search(r"(?i)secret|passw|token|key|credential|auth", str(place[-1])):
        return ""
    shown = repr(found)
    return f", not {shown if len(shown) <= _LONGEST_VALUE_SHOWN else shown[:_LONGEST_VALUE_SHOWN] + '…'}"
