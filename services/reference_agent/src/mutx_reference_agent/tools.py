"""The two tools of the agent. Neither reaches anything: a calculator that evaluates no code, and a clock."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

LONGEST_EXPRESSION = 200
LARGEST_MAGNITUDE = 1e15
LARGEST_EXPONENT = 64

Number = int | float

_BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Number], Number]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


def calculate(expression: str) -> str:
    """Work out an arithmetic expression of numbers, + - * / // % ** and parentheses."""
    try:
        if len(expression) > LONGEST_EXPRESSION:
            return "error: the expression is too long"
        return repr(_value(ast.parse(expression.strip(), mode="eval").body))
    except (ValueError, ArithmeticError, SyntaxError, RecursionError, MemoryError, TypeError) as error:
        reason = str(error) if type(error) is ValueError else type(error).__name__
        return f"error: {reason}"


def tell_time(zone: str = "UTC") -> str:
    """Tell the date and time now in a zone of the IANA database, such as Europe/Paris."""
    try:
        place = UTC if zone == "UTC" else ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "error: there is no such zone"
    return datetime.now(place).isoformat(timespec="seconds")


def _value(node: ast.expr) -> Number:
    """Return a node's value. Every step is bounded, so that no expression costs time or memory."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return _bounded(node.value)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _UNARY[type(node.op)](_value(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Pow) and abs(right) > LARGEST_EXPONENT:
            raise ValueError("the exponent is too large")
        return _bounded(_BINARY[type(node.op)](left, right))
    raise ValueError("only numbers and + - * / // % ** are understood")


def _bounded(value: object) -> Number:
    # A negative number to a fraction is complex.
    if not isinstance(value, int | float) or not abs(value) <= LARGEST_MAGNITUDE:
        raise ValueError("the result is out of range")
    return value
