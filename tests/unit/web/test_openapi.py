"""The description of the pages is true: every page is in it, and answers as it says."""

from typing import Any

import hypothesis
import schemathesis

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


def test_every_page_is_described() -> None:
    """And nothing else."""
    assert PAGES == [page.path for page in openapi.PAGES]


def test_units_and_meaning_are_in_the_description() -> None:
    """Schemas come from the structs, with their docstrings."""
    schemas = openapi.description()["components"]["schemas"]

    assert "Times are seconds since 1970 UTC" in schemas["CheckStatus"]["description"]
    assert {"Health", "Status", "StreamStatus", "SegmentStatus", "ConfigKey", "Probe", "Failure"} <= set(schemas)
