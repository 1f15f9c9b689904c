"""All small wrong versions of a module, one change each: what a tired hand gets wrong."""

from __future__ import annotations

import ast
import copy
import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMPARED: dict[type, type] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
RECKONED: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd,
}
TWINS = {"min": "max", "max": "min", "any": "all", "all": "any", "up": "down", "down": "up"}
TEXT_MAX = 100


@dataclass(frozen=True)
class Mutant:
    """`name` stays the same while the function that it is in does."""

    module: str
    name: str
    line: int
    tree: ast.Module


def digest(path: Path) -> str:
    """Of what a module does: neither comments nor formatting nor docstrings are in it."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            body[0] = ast.Pass()
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16]


def mutants(path: Path) -> Iterator[Mutant]:
    tree = ast.parse(path.read_text())
    seen: Counter[str] = Counter()
    for number, (node, place) in enumerate(_nodes(tree)):
        for change in range(_count(node)):
            twin = copy.deepcopy(tree)
            found = next(each for index, (each, _) in enumerate(_nodes(twin)) if index == number)
            before = _text(node)
            after = _change(found, change)
            name = f"{place}: `{before}` → `{after}`"
            seen[name] += 1
            if seen[name] > 1:
                name += f" (no. {seen[name]})"
            yield Mutant(path.stem, name, getattr(node, "lineno", 0), ast.fix_missing_locations(twin))


# -- where ------------------------------------------------------------------------------------------------


def _nodes(tree: ast.AST, place: str = "module") -> Iterator[tuple[ast.AST, str]]:
    """Everything that runs, with the function that it is in; no annotations, no docstrings, no decorators."""
    for name, value in ast.iter_fields(tree):
        if name in {"annotation", "returns", "decorator_list", "type_comment", "type_params", "bases"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _is_docstring(child) or _is_skipped(child):
                continue
            inner = place
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                inner = child.name if place == "module" else f"{place}.{child.name}"
            yield child, inner
            yield from _nodes(child, inner)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_skipped(node: ast.AST) -> bool:
    """What only the type checker reads, and assertions: they say what never happens."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.Assert | ast.Import | ast.ImportFrom)


# -- what -------------------------------------------------------------------------------------------------


def _count(node: ast.AST) -> int:  # noqa: PLR0911 - a line for each kind of node
    """How many wrong versions there are of one node."""
    if isinstance(node, ast.Compare):
        return len(node.ops)
    if isinstance(node, ast.BinOp | ast.AugAssign):
        return int(type(node.op) in RECKONED)
    if isinstance(node, ast.Constant):
        return int(isinstance(node.value, bool | int))
    if isinstance(node, ast.Call):
        return int(isinstance(node.func, ast.Name) and node.func.id in TWINS)
    if isinstance(node, ast.Return):
        return int(node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None))
    if isinstance(node, ast.Expr):
        return int(isinstance(node.value, ast.Call))
    if isinstance(node, ast.Assign):
        return int(isinstance(node.targets[0], ast.Attribute | ast.Subscript))
    if isinstance(node, ast.comprehension):
        return len(node.ifs)
    kinds = ast.BoolOp | ast.UnaryOp | ast.If | ast.IfExp | ast.While | ast.Continue | ast.Break | ast.Raise
    return int(isinstance(node, kinds))


def _change(node: ast.AST, number: int) -> str:  # noqa: C901 - as above
    """Make it wrong, and say how it reads now."""
    if isinstance(node, ast.Compare):
        node.ops[number] = COMPARED[type(node.ops[number])]()
    elif isinstance(node, ast.BinOp | ast.AugAssign):
        node.op = RECKONED[type(node.op)]()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1
    elif isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name), "counted"
        node.func.id = TWINS[node.func.id]
    elif isinstance(node, ast.Return):
        node.value = ast.Constant(None)
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.comprehension):
        node.ifs[number] = ast.UnaryOp(ast.Not(), node.ifs[number])
    elif isinstance(node, ast.UnaryOp):
        operand, node.op, node.operand = node.operand, ast.UAdd(), node.operand
        if not isinstance(operand, ast.Constant):  # +x would round, and of a truth it makes a number
            _become(node, ast.Call(ast.Name("_same", ast.Load()), [operand], []))
            return _text(operand)
    else:
        _become(node, ast.Pass())
    return _text(node)


def _become(node: ast.AST, other: ast.AST) -> None:
    node.__class__ = other.__class__
    node.__dict__ = {**{k: v for k, v in node.__dict__.items() if "lineno" in k or "offset" in k}, **other.__dict__}


def _text(node: ast.AST) -> str:
    """Its first line: of a condition no more than the condition."""
    if isinstance(node, ast.If | ast.While):
        kind = "if" if isinstance(node, ast.If) else "while"
        text = f"{kind} {ast.unparse(node.test)}"
    else:
        text = ast.unparse(node)
    text = " ".join(text.split()).replace("|", "\\|")
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"
