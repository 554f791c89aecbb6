"""The part of PromQL that is evaluated: promql-parser reads and type-checks it, here it becomes a tree of nodes.

Whatever is not in this part is an error when the rule is read, never a surprise when it should fire.
"""

from __future__ import annotations

import re
from typing import Any

from agent.alerts import ranges
from agent.alerts.history import Matcher, Selector
from agent.alerts.nodes import Absent, Absolute, Aggregate, Binary, Instant, Node, Number, Ranged, Time
from agent.alerts.vector import NAME, OPERATORS, REDUCERS, SETS, Matching

LONGEST = 86_400.0
"""Seconds that a span may have."""


class UnsupportedError(ValueError):
    """PromQL that is wrong, or that is not evaluated here; the sentence says what."""


def compile_expression(text: str) -> Node:
    """The tree of an expression. Raises UnsupportedError, and ImportError without promql-parser."""
    import promql_parser

    try:
        return _Compiler(promql_parser).node(promql_parser.parse(text))
    except UnsupportedError:
        raise
    except ValueError as error:
        raise UnsupportedError(f"is no PromQL: {error}") from None


class _Compiler:
    """Turns what the parser gives into nodes."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser

    def node(self, tree: Any) -> Node:
        """Any expression that has a value."""
        parser = self._parser
        if isinstance(tree, parser.ParenExpr):
            return self.node(tree.expr)
        if isinstance(tree, parser.NumberLiteral):
            return Number(tree.val)
        if isinstance(tree, parser.UnaryExpr):
            return Binary("*", Number(-1.0), self.node(tree.expr), Matching())
        if isinstance(tree, parser.VectorSelector):
            return Instant(self._selector(tree))
        if isinstance(tree, parser.AggregateExpr):
            return self._aggregate(tree)
        if isinstance(tree, parser.Call):
            return self._call(tree)
        if isinstance(tree, parser.BinaryExpr):
            return self._binary(tree)
        raise _unsupported(_NAMES.get(type(tree).__name__, f"{type(tree).__name__}"))

    def _selector(self, tree: Any) -> Selector:
        if tree.offset is not None:
            raise _unsupported("offset")
        if tree.at is not None:
            raise _unsupported("@")
        if tree.matchers.or_matchers:
            raise _unsupported("or between matchers")
        metric, matchers = tree.name, []
        for one in tree.matchers.matchers:
            symbol = _MATCHERS[str(one.op)]
            if one.name == NAME and symbol == "=":
                metric = one.value
            elif one.name == NAME:
                raise _unsupported("a pattern of metric names")
            else:
                matchers.append(_matcher(one.name, symbol, one.value))
        if not metric:
            raise _unsupported("a selector without a metric's name")
        return Selector(metric, tuple(matchers))

    def _aggregate(self, tree: Any) -> Node:
        word = str(tree.op)
        if word not in REDUCERS:
            raise _unsupported(word)
        by = Matching(on=True)
        if tree.modifier is not None:
            is_by = tree.modifier.type == self._parser.AggModifierType.By
            by = Matching(is_by, frozenset(tree.modifier.labels))
        return Aggregate(word, self.node(tree.expr), by)

    def _call(self, tree: Any) -> Node:
        name = tree.func.name
        if name == "time":
            return Time()
        if name in ("absent", "abs"):
            operand = self.node(tree.args[0])
            return Absent(operand) if name == "absent" else Absolute(operand)
        if name not in ranges.FUNCTIONS:
            raise _unsupported(f"{name}()")
        matrix = tree.args[0]
        if not isinstance(matrix, self._parser.MatrixSelector):
            raise _unsupported(f"{name}() of anything but a selector with a span, such as metric[5m]")
        span = float(matrix.range.total_seconds())
        if not 0 < span <= LONGEST:
            raise UnsupportedError("has a span of more than a day, which no history here holds")
        return Ranged(name, self._selector(matrix.vector_selector), span)

    def _binary(self, tree: Any) -> Node:
        symbol = str(tree.op)
        if symbol not in OPERATORS and symbol not in SETS:
            raise _unsupported(symbol)
        modifier = tree.modifier
        matching, keep_bool = Matching(), False
        if modifier is not None:
            keep_bool = modifier.return_bool
            if modifier.card in (
                self._parser.VectorMatchCardinality.ManyToOne, self._parser.VectorMatchCardinality.OneToMany
            ):  # fmt: skip
                raise _unsupported("group_left and group_right")
            if modifier.matching is not None:
                on = modifier.matching.type == self._parser.LabelModifierType.Include
                matching = Matching(on, frozenset(modifier.matching.labels))
        return Binary(symbol, self.node(tree.lhs), self.node(tree.rhs), matching, keep_bool)


_NAMES = {"SubqueryExpr": "a subquery", "StringLiteral": "a string", "MatrixSelector": "a span without a function"}
_MATCHERS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}


def _matcher(label: str, symbol: str, value: str) -> Matcher:
    if "~" in symbol and "[:" in value:
        raise UnsupportedError("has a pattern with [:a class:], which is not understood here")
    try:
        re.compile(value if "~" in symbol else "")
    except re.error as error:  # Prometheus' own expressions have a few forms more
        raise UnsupportedError(f"has a pattern that is not understood here: {error}") from None
    return Matcher(label, symbol, value)


def _unsupported(what: str) -> UnsupportedError:
    return UnsupportedError(f"has {what}, which is not evaluated here")
