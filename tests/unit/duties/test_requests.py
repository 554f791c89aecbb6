"""Requests: carried out by one thread, answered to another, never lost."""

from __future__ import annotations

import threading

import pytest

from agent.duties.requests import Requests
from agent.kit.errors import AgentError


def test_a_call_runs_in_the_serving_thread() -> None:
    """Its answer comes back to whoever asked."""
    woken = threading.Event()
    requests = Requests(woken.set)
    answers: list[int] = []
    asker = threading.Thread(target=lambda: answers.append(requests.ask(threading.get_ident, 10)))
    asker.start()
    woken.wait(10)

    assert 1 == requests.serve()
    asker.join()
    assert [threading.get_ident()] == answers


def test_what_a_call_raises_is_the_askers() -> None:
    """The serving thread goes on."""
    woken = threading.Event()
    requests = Requests(woken.set)
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            requests.ask(lambda: 1 // 0, 10)
        except ZeroDivisionError as error:
            errors.append(error)

    asker = threading.Thread(target=ask)
    asker.start()
    woken.wait(10)

    assert 1 == requests.serve()
    asker.join()
    assert 1 == len(errors)
    assert 0 == requests.serve()


def test_no_answer_in_time_is_said() -> None:
    """The request may still be carried out later, and the error says so."""
    requests = Requests(lambda: None)
    done: list[int] = []
    with pytest.raises(AgentError, match="still be carried out"):
        requests.ask(lambda: done.append(1), 0.001)

    assert 1 == requests.serve()
    assert [1] == done


def test_nobody_waits_for_a_closed_queue() -> None:
    """Those who wait, and those who come later, are told that the agent stops."""
    woken = threading.Event()
    requests = Requests(woken.set)
    errors: list[AgentError] = []

    def ask() -> None:
        try:
            requests.ask(lambda: None, 10)
        except AgentError as error:
            errors.append(error)

    asker = threading.Thread(target=ask)
    asker.start()
    woken.wait(10)
    requests.close()
    asker.join()
    ask()

    assert 2 == len(errors)
    assert all("stopping" in str(error) for error in errors)
