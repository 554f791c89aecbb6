"""The parts of an expression, each of which knows its value on given data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from agent.alerts import ranges
from agent.alerts.history import Data, Selector
from agent.alerts.vector import (
    SETS,
    Matching,
    Value,
    Vector,
    aggregate,
    binary,
    collect,
    combine,
    without_name,
)


class Node(ABC):
    """A part of an expression."""

    @abstractmethod
    def evaluate(self, data: Data) -> Value:
        """Its value now. Raises EvaluationError."""

    def below(self) -> tuple[Node, ...]:
        """Its parts; most have none."""
        return ()


@dataclass(frozen=True)
class Number(Node):
    """A constant."""

    value: float

    def evaluate(self, data: Data) -> Value:  # noqa: ARG002 - a Node's
        """Itself."""
        return self.value


@dataclass(frozen=True)
class Time(Node):
    """`time()`."""

    def evaluate(self, data: Data) -> Value:
        """Seconds since 1970 UTC."""
        return data.wall


@dataclass(frozen=True)
class Instant(Node):
    """A selector."""

    selector: Selector

    def evaluate(self, data: Data) -> Value:
        """The newest samples."""
        return data.instant(self.selector)


@dataclass(frozen=True)
class Ranged(Node):
    """A function over a span of each series."""

    function: str
    selector: Selector
    span: float

    def evaluate(self, data: Data) -> Value:
        """One value for each series that has enough samples."""
        apply, start = ranges.FUNCTIONS[self.function], data.time - self.span
        found = (
            (labels, apply(samples, start, data.time)) for labels, samples in data.history.window(self.selector, start)
        )
        return collect((without_name(labels), value) for labels, value in found if value is not None)


@dataclass(frozen=True)
class Absent(Node):
    """`absent`: 1 where there is nothing."""

    operand: Node

    def evaluate(self, data: Data) -> Value:
        """With the labels that the selector asks for by equality, as Prometheus does."""
        if _vector(self.operand.evaluate(data)):
            return {}
        matchers = self.operand.selector.matchers if isinstance(self.operand, Instant) else ()
        pairs = {one.label: one.value for one in matchers if one.symbol == "=" and one.value}
        twice = {one.label for one in matchers if sum(other.label == one.label for other in matchers) > 1}
        return {tuple(sorted((label, value) for label, value in pairs.items() if label not in twice)): 1.0}

    def below(self) -> tuple[Node, ...]:
        """What must be there."""
        return (self.operand,)


@dataclass(frozen=True)
class Absolute(Node):
    """`abs`."""

    operand: Node

    def evaluate(self, data: Data) -> Value:
        """Without signs."""
        vector = _vector(self.operand.evaluate(data))
        return collect((without_name(labels), abs(value)) for labels, value in vector.items())

    def below(self) -> tuple[Node, ...]:
        """Its operand."""
        return (self.operand,)


@dataclass(frozen=True)
class Aggregate(Node):
    """`sum`, `min`, `max`, `avg` or `count`."""

    word: str
    operand: Node
    by: Matching

    def evaluate(self, data: Data) -> Value:
        """One value for each group."""
        return aggregate(self.word, _vector(self.operand.evaluate(data)), self.by)

    def below(self) -> tuple[Node, ...]:
        """Its operand."""
        return (self.operand,)


@dataclass(frozen=True)
class Binary(Node):
    """An operator between two values."""

    symbol: str
    left: Node
    right: Node
    matching: Matching
    keep_bool: bool = False

    def evaluate(self, data: Data) -> Value:
        """Both sides, then the operator."""
        left, right = self.left.evaluate(data), self.right.evaluate(data)
        if self.symbol in SETS:
            return combine(self.symbol, _vector(left), _vector(right), self.matching)
        return binary(self.symbol, left, right, self.matching, keep_bool=self.keep_bool)

    def below(self) -> tuple[Node, ...]:
        """Both sides."""
        return self.left, self.right


def _vector(value: Value) -> Vector:
    """A value as a vector; the parser has seen to it that it is one, or it is the whole expression's number."""
    return value if isinstance(value, dict) else {(): value}


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    for one in node.below():
        yield from walk(one)
