"""The description of the pages is true: every page is in it, and answers as it says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import schemathesis

from agent.config import Web
from agent.web import openapi

from .conftest import Site
from .test_server import PAGES


def test_pages_answer_as_described(site: Site) -> None:
    """Status, media type and body of every page, whatever the query is; other methods are refused."""
    url = f"http://{site.addresses.tcp}/openapi.json"
    called: list[str] = []
    found: Any
    for found in schemathesis.openapi.from_url(url).get_all_operations():
        operation = found.ok()

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.settings(max_examples=10, deadline=None, derandomize=True, database=None)
        def call(case: Any) -> None:
            case.call_and_validate()

        call()
        called.append(operation.path)

    assert PAGES[:-1] == called  # it leaves out the page that it has read itself


def test_what_changes_something_is_described_where_it_is(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """For the bearer of the token each answers as described; where there is no token, they are not there."""
    assert not set(openapi.description()["paths"]) & {page.path for page in openapi.ADMIN_PAGES}
    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123456789abcdef\n", "ascii")
    token.chmod(0o600)
    site = make_site(Web(admin_token_file=str(token)))
    called: list[str] = []
    found: Any
    for found in schemathesis.openapi.from_url(f"http://{site.addresses.tcp}/openapi.json").get_all_operations():
        operation = found.ok()
        if operation.method == "get":
            continue
        assert operation.definition.raw["security"] == [{"token": []}]
        assert 401 == site.tcp.post(operation.path).status_code

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.settings(max_examples=10, deadline=None, derandomize=True, database=None)
        def call(case: Any) -> None:
            case.call_and_validate(headers={"Authorization": "Bearer 0123456789abcdef0123456789abcdef"})

        call()
        called.append(operation.path)

    assert [page.path for page in openapi.ADMIN_PAGES] == called


def test_every_page_is_described() -> None:
    """And nothing else."""
    assert PAGES == [page.path for page in openapi.PAGES]


def test_units_and_meaning_are_in_the_description() -> None:
    """Schemas come from the structs, with their docstrings."""
    schemas = openapi.description()["components"]["schemas"]

    assert "Times are seconds since 1970 UTC" in schemas["CheckStatus"]["description"]
    assert {"Health", "Status", "StreamStatus", "SegmentStatus", "ConfigKey", "Probe", "Failure"} <= set(schemas)
