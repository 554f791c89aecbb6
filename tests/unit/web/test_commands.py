import pytest

from agent.kit.errors import (
    AgentError,
    ConfigError,
    LockedError,
    NoAnswerError,
    RefusedError,
    StoppingError,
    UnknownError,
)

from .conftest import Site


def test_rotate_hands_names_and_time_to_control(site: Site) -> None:
    """The answer is a list of control.Rotated; the work runs in another thread than the server's."""
    answer = site.local.post("/rotate", json={"streams": ["a.json"], "timeout": 5})

    assert answer.status_code == 200
    assert answer.json() == [
        {"stream": "a.json", "outcome": "sealed", "segment": "", "bytes": 5, "records": 1, "message": ""}
    ]
    assert site.control.asked == [("rotate", ["a.json"], 5.0)]
    assert "web" not in site.control.threads


def test_cleanup_can_be_rehearsed(site: Site) -> None:
    """`dry_run` reaches control, the plan comes back."""
    answer = site.local.post("/cleanup", json={"dry_run": True})

    assert answer.json()[0]["action"] == "retire"
    assert site.control.asked == [("cleanup", True, 300.0)]


def test_a_rejected_reload_is_an_answer(site: Site) -> None:
    """The request succeeded, the configuration did not: `ok` says so."""
    answer = site.local.post("/reload")

    assert (answer.status_code, answer.json()["ok"]) == (200, False)


def test_an_empty_body_means_the_defaults(site: Site) -> None:
    """No body and an empty object are the same."""
    site.local.post("/rotate")
    site.local.post("/rotate", content=b"{}")

    assert site.control.asked == [("rotate", [], 60.0)] * 2


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{", "truncated"),
        (b"[]", "array"),
        (b'{"streems": []}', "streems"),
        (b'{"streams": "a.json"}', "$.streams"),
        (b'{"timeout": 0}', "$.timeout"),
        (b'{"streams": ["\xff"]}', "not understood"),
        (b" " * (5 << 20), "longer than"),
    ],
)
def test_a_body_that_is_wrong_is_refused_with_the_reason(site: Site, body: bytes, named: str) -> None:
    """400, what is wrong with it, and control is not asked."""
    answer = site.local.post("/rotate", content=body)

    assert answer.status_code == 400
    assert named in answer.json()["what"]
    assert site.control.asked == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("wrong", path="agent.toml", hint="mend it"), 422),
        (LockedError("locked", path="/data", pid=7, hint="wait"), 409),
        (RefusedError("refused", path="a.json"), 409),
        (UnknownError("no stream of that name"), 404),
        (StoppingError("stopping"), 503),
        (NoAnswerError("not in time"), 504),
        (AgentError("broken", path="a.json", position=17, hint="look"), 500),
    ],
)
def test_an_error_of_control_arrives_in_parts(site: Site, error: AgentError, code: int) -> None:
    """What, path, position and hint are kept; the status tells whose turn it is."""
    site.control.error = error

    answer = site.local.post("/rotate", json={})

    assert answer.status_code == code
    assert answer.json() == {"what": error.what, "path": error.path, "position": error.position, "hint": error.hint}


def test_a_defect_is_a_500_without_details(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The traceback is in the log, not in the answer; the server goes on."""
    site.control.error = ZeroDivisionError("secret")  # type: ignore[assignment]

    answer = site.local.post("/rotate")

    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    assert site.local.get("/livez").status_code == 200
    site.server.stop()  # the log line comes after the answer
    assert "secret" in caplog.text


def test_commands_are_posted(site: Site) -> None:
    """Reading them is not possible."""
    assert site.local.get("/rotate").status_code == 405
