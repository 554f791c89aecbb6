"""What PromQL computes with: numbers, and vectors of series, one value each; and the operators between them.

Invariants: labels are sorted pairs of name and value without empty values, so that equal sets are equal keys; a vector
that would have the same labels twice is an error, as in Prometheus.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from typing import NamedTuple

NAME = "__name__"

Labels = tuple[tuple[str, str], ...]
Vector = dict[Labels, float]
Value = float | Vector


class EvaluationError(Exception):
    """The expression has no value with this data: series that match more than once."""


class Matching(NamedTuple):
    """By which labels series of two sides belong together."""

    on: bool = False
    """True: by `labels` alone; False: by all but `labels`."""
    labels: frozenset[str] = frozenset()

    def signature(self, labels: Labels) -> Labels:
        """What must be equal."""
        if self.on:
            return tuple(pair for pair in labels if pair[0] in self.labels)
        return tuple(pair for pair in labels if pair[0] not in self.labels and pair[0] != NAME)


class Operator(NamedTuple):
    """An arithmetic operator, or a comparison."""

    apply: Callable[[float, float], float]
    compares: bool = False


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def _modulo(left: float, right: float) -> float:
    try:
        return math.fmod(left, right)
    except ValueError:
        return math.nan


def _power(left: float, right: float) -> float:
    try:
        return math.pow(left, right)
    except OverflowError:
        return -math.inf if left < 0 and right % 2 == 1 else math.inf
    except ValueError:  # a fraction of a negative number, or zero to a negative one
        return math.inf if left == 0 else math.nan


OPERATORS = {
    "+": Operator(operator.add),
    "-": Operator(operator.sub),
    "*": Operator(operator.mul),
    "/": Operator(_divide),
    "%": Operator(_modulo),
    "^": Operator(_power),
    "==": Operator(operator.eq, compares=True),
    "!=": Operator(operator.ne, compares=True),
    ">": Operator(operator.gt, compares=True),
    "<": Operator(operator.lt, compares=True),
    ">=": Operator(operator.ge, compares=True),
    "<=": Operator(operator.le, compares=True),
}
SETS = ("and", "or", "unless")


def without_name(labels: Labels) -> Labels:
    """The labels of a value that is no longer the metric's."""
    return tuple(pair for pair in labels if pair[0] != NAME)


def collect(pairs: Iterable[tuple[Labels, float]]) -> Vector:
    """A vector. Raises EvaluationError for the same labels twice."""
    found: Vector = {}
    for labels, value in pairs:
        if labels in found:
            raise EvaluationError(f"the result has the same labels twice: {render(labels)}")
        found[labels] = value
    return found


def binary(symbol: str, left: Value, right: Value, matching: Matching, *, keep_bool: bool) -> Value:
    """The value of an arithmetic operator or a comparison; `keep_bool` gives 0 and 1 where others filter."""
    operation = OPERATORS[symbol]
    if isinstance(left, dict) and isinstance(right, dict):
        return _between(operation, left, right, matching, keep_bool=keep_bool)
    if isinstance(left, dict):
        assert not isinstance(right, dict)  # noqa: S101 - the case above; for the type checker
        return _with_number(operation, left, right, swapped=False, keep_bool=keep_bool)
    if isinstance(right, dict):
        return _with_number(operation, right, left, swapped=True, keep_bool=keep_bool)
    return float(operation.apply(left, right))


def _with_number(operation: Operator, vector: Vector, number: float, *, swapped: bool, keep_bool: bool) -> Vector:
    def pairs() -> Iterable[tuple[Labels, float]]:
        for labels, value in vector.items():
            result = operation.apply(number, value) if swapped else operation.apply(value, number)
            if operation.compares and not keep_bool:
                if result:
                    yield labels, value
            else:
                yield without_name(labels), float(result)

    return collect(pairs())


def _between(operation: Operator, left: Vector, right: Vector, matching: Matching, *, keep_bool: bool) -> Vector:
    """One to one: each series of the left with the one of the right that has the same signature."""
    others: dict[Labels, float] = {}
    for labels, value in right.items():
        signature = matching.signature(labels)
        if signature in others:
            raise EvaluationError(f"more than one series on the right side has {render(signature)}")
        others[signature] = value
    found: Vector = {}
    used: set[Labels] = set()
    for labels, value in left.items():
        signature = matching.signature(labels)
        if signature not in others:
            continue
        result = operation.apply(value, others[signature])
        filters = operation.compares and not keep_bool
        if filters and not result:
            continue
        if signature in used:
            raise EvaluationError(f"more than one series on the left side has {render(signature)}")
        used.add(signature)
        found[_result_labels(labels, matching, named=filters)] = value if filters else float(result)
    return found


def _result_labels(labels: Labels, matching: Matching, *, named: bool) -> Labels:
    if matching.on:
        return tuple(pair for pair in labels if pair[0] in matching.labels)
    kept = tuple(pair for pair in labels if pair[0] not in matching.labels)
    return kept if named else without_name(kept)


def combine(word: str, left: Vector, right: Vector, matching: Matching) -> Vector:
    """`and`, `or` and `unless`."""
    if word == "or":
        have = {matching.signature(labels) for labels in left}
        return left | {labels: value for labels, value in right.items() if matching.signature(labels) not in have}
    others = {matching.signature(labels) for labels in right}
    wanted = word == "and"
    return {labels: value for labels, value in left.items() if (matching.signature(labels) in others) == wanted}


def aggregate(word: str, vector: Vector, by: Matching) -> Vector:
    """`sum`, `min`, `max`, `avg` and `count` of the series that `by` does not tell apart."""
    groups: dict[Labels, list[float]] = {}
    for labels, value in vector.items():
        groups.setdefault(by.signature(labels), []).append(value)
    return {labels: REDUCERS[word](values) for labels, values in groups.items()}


def total(values: list[float]) -> float:
    """The sum; of both infinities it is no number."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return sum(values)


def _extreme(values: list[float], better: Callable[[float, float], bool]) -> float:
    best = values[0]
    for value in values[1:]:
        if better(value, best) or math.isnan(best):
            best = value
    return best


REDUCERS: dict[str, Callable[[list[float]], float]] = {
    "sum": total,
    "min": lambda values: _extreme(values, operator.lt),
    "max": lambda values: _extreme(values, operator.gt),
    "avg": lambda values: total(values) / len(values),
    "count": lambda values: float(len(values)),
}


def render(labels: Labels) -> str:
    """Labels as PromQL writes them."""
    inside = ", ".join(f'{name}="{value}"' for name, value in labels if name != NAME)
    return f"{dict(labels).get(NAME, '')}{{{inside}}}"
