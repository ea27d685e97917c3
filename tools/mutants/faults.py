"""The faults that can be made in a module: what a tired engineer could change, as edits of its text. Pure.

They are the kinds that tests miss: a call or a renewal that is gone, a guard or a bound, a second try, a cleanup, one
half of a condition, a comparison that is off by one, a line of a Redis script.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

SWAPPED: Final[dict[type[ast.cmpop], str]] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
SILENT: Final = ("log.", "logger.", "warnings.")
"""Calls that only tell somebody something; whether they are made is no behaviour."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One change of a module's text."""

    line: int
    kind: str
    start: int
    """Index of the first character that is replaced."""
    end: int
    text: str

    def applied(self, source: str) -> str:
        """The module with the fault in it."""
        return source[: self.start] + self.text + source[self.end :]


class _Text:
    """A module's text, and where its nodes stand in it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._lines = source.splitlines()

    def index(self, line: int, column: int) -> int:
        """`column` counts UTF-8 bytes, as `ast` does."""
        text = self._lines[line - 1].encode()[:column].decode() if line <= len(self._lines) else ""
        return self._starts[line - 1] + len(text)

    def of(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """First character of a node, and the one after its last."""
        return self.index(node.lineno, node.col_offset), self.index(node.end_lineno or 0, node.end_col_offset or 0)

    def said(self, node: ast.expr | ast.stmt) -> str:
        """The text of a node."""
        start, end = self.of(node)
        return self.source[start:end]

    def fault(self, kind: str, node: ast.expr | ast.stmt, text: str) -> Fault:
        """The node replaced."""
        return Fault(node.lineno, kind, *self.of(node), text)

    def body(self, kind: str, body: list[ast.stmt], text: str) -> Fault:
        """A block replaced by one statement."""
        return Fault(body[0].lineno, kind, self.of(body[0])[0], self.of(body[-1])[1], text)


def faults(source: str) -> list[Fault]:
    """All faults that can be made in a module, in the order of its lines, each of which still compiles."""
    text = _Text(source)
    found = [fault for node in _behaviour(ast.parse(source)) for fault in _of(node, text)]
    return sorted((fault for fault in found if _compiles(fault.applied(source))), key=lambda fault: fault.start)


def _behaviour(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree, but for decorators, protocols, what only tells something, and what any use would miss."""
    decorators = getattr(tree, "decorator_list", [])
    for node in ast.iter_child_nodes(tree):
        if node in decorators:
            continue
        if isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases):
            continue
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Expr) and ast.unparse(node).startswith(SILENT)):
            continue
        if isinstance(node, ast.Assign) and isinstance(tree, ast.FunctionDef) and tree.name == "__init__":
            continue
        yield node
        yield from _behaviour(node)


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _of(node: ast.AST, text: _Text) -> Iterator[Fault]:
    for kind, made in _KINDS.items():
        if isinstance(node, kind):
            yield from made(node, text)


def _of_expression_statement(node: ast.Expr, text: _Text) -> Iterator[Fault]:
    called = node.value.value if isinstance(node.value, ast.Await) else node.value
    if isinstance(called, ast.Call):
        yield text.fault("a call is gone", node, "pass")


def _of_assignment(node: ast.Assign | ast.AugAssign, text: _Text) -> Iterator[Fault]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if isinstance(node, ast.AugAssign) or all(isinstance(each, ast.Attribute | ast.Subscript) for each in targets):
        yield text.fault("a change is gone", node, "pass")


def _of_if(node: ast.If, text: _Text) -> Iterator[Fault]:
    if node.orelse:
        yield text.fault("a condition is turned round", node.test, f"not ({text.said(node.test)})")
    else:
        yield text.fault("a guard is gone", node.test, "False")


def _of_try(node: ast.Try, text: _Text) -> Iterator[Fault]:
    for handler in node.handlers:
        if not isinstance(handler.body[0], ast.Raise):
            yield text.body("an error is not handled", handler.body, "raise")
    if node.finalbody:
        yield text.body("a cleanup is gone", node.finalbody, "pass")


def _of_while(node: ast.While, text: _Text) -> Iterator[Fault]:
    yield text.fault("a loop is left after one turn", node.body[-1], f"{text.said(node.body[-1])}; break")


def _of_comparison(node: ast.Compare, text: _Text) -> Iterator[Fault]:
    left = node.left
    for operator, right in zip(node.ops, node.comparators, strict=True):
        start, end = text.of(left)[1], text.of(right)[0]
        between = text.source[start:end]
        opened, closed = between.count("("), between.count(")")
        swapped = ")" * closed + f" {SWAPPED[type(operator)]} " + "(" * opened
        yield Fault(right.lineno, "a comparison is another", start, end, swapped)
        left = right


def _of_condition(node: ast.BoolOp, text: _Text) -> Iterator[Fault]:
    for dropped in node.values:
        neutral = "True" if isinstance(node.op, ast.And) else "False"
        yield text.fault("a part of a condition is gone", dropped, neutral)


def _of_arithmetic(node: ast.BinOp, text: _Text) -> Iterator[Fault]:
    texts = any(isinstance(side, ast.JoinedStr | ast.List) or _is_text(side) for side in (node.left, node.right))
    if isinstance(node.op, ast.Add | ast.Sub) and not texts:
        start, end = text.of(node.left)[1], text.of(node.right)[0]
        between = text.source[start:end]
        was, now = ("+", "-") if isinstance(node.op, ast.Add) else ("-", "+")
        yield Fault(node.lineno, "plus for minus", start, end, between.replace(was, now, 1))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def _of_constant(node: ast.Constant, text: _Text) -> Iterator[Fault]:
    if isinstance(node.value, bool):
        yield text.fault("true for false", node, str(not node.value))
    elif isinstance(node.value, str) and "redis.call" in node.value and text.said(node).startswith('"""'):
        yield from _of_script(node, text)


def _of_script(node: ast.Constant, text: _Text) -> Iterator[Fault]:
    """Each line of Lua that stands by itself."""
    start = text.of(node)[0]
    for number, line in enumerate(text.said(node).splitlines(keepends=True)):
        said = line.strip()
        if said.startswith("redis.call") or (said.startswith("if ") and said.endswith(" end")):
            yield Fault(node.lineno + number, "a line of a script is gone", start, start + len(line), "\n")
        start += len(line)


def _of_call(node: ast.Call, text: _Text) -> Iterator[Fault]:
    if isinstance(node.func, ast.Name) and node.func.id in ("min", "max"):
        yield text.fault("the least for the most", node.func, "max" if node.func.id == "min" else "min")


_KINDS: Final[dict[type[ast.AST], Callable[..., Iterator[Fault]]]] = {
    ast.Expr: _of_expression_statement,
    ast.Assign: _of_assignment,
    ast.AugAssign: _of_assignment,
    ast.If: _of_if,
    ast.Try: _of_try,
    ast.While: _of_while,
    ast.Compare: _of_comparison,
    ast.BoolOp: _of_condition,
    ast.BinOp: _of_arithmetic,
    ast.Constant: _of_constant,
    ast.Call: _of_call,
}
