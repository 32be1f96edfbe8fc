"""The description of the API is true, and nothing that it allows makes the server fail.

The snapshot is what clients are made from. To renew it, after a change that is meant::

    python -m pytest tests/server/test_openapi.py --renew-openapi
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig

from py_code_mode.server.app import create_app
from py_code_mode.settings import Settings

from .serving import TOKEN, Client, Server, place

SNAPSHOT = Path(__file__).with_name("openapi.json")
APP = create_app(Settings(tokens=(TOKEN,), storage_path="/nonexistent"))
CONFIG = SchemathesisConfig.from_dict({"generation": {"allow-x00": False}})
#: Without what it says of tokens: wrong ones have tests of their own, and slow answers.
OPEN = {name: part for name, part in APP.openapi().items() if name != "security"}
SCHEMA = schemathesis.openapi.from_dict(OPEN, config=CONFIG)
AUTH = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def open_server() -> Iterator[Server]:
    """A server that may be filled with whatever comes."""
    with place() as made:
        yield made.start(EXECUTION_TIMEOUT="1", MAX_EXECUTION_TIMEOUT="2", MAX_SESSIONS="1000")


@pytest.fixture(scope="module")
def connections() -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        yield made


def test_the_document_is_the_snapshot(client: Client, request: pytest.FixtureRequest) -> None:
    served = client.get("/openapi.json").json()
    served["info"]["version"] = "0"
    text = json.dumps(served, indent=1, sort_keys=True) + "\n"
    if request.config.getoption("--renew-openapi", default=False):
        SNAPSHOT.write_text(text)
    assert text == SNAPSHOT.read_text(), "the API has changed; see the top of this file"


def test_the_document_says_of_every_route_how_it_fails_and_what_it_needs(client: Client) -> None:
    document = client.get("/openapi.json").json()
    operations = {
        f"{method} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    unsafe = [name for name, each in operations.items() if each.get("security") == []]
    assert sorted(unsafe) == ["get /health", "get /ready"]
    for name, operation in operations.items():
        assert operation["summary"], name
        if name not in unsafe:
            assert "application/problem+json" in operation["responses"]["default"]["content"], name
        assert "422" not in operation["responses"], name


@SCHEMA.parametrize()
@settings(
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_that_the_document_allows_makes_the_server_fail(
    case: schemathesis.Case[Any], open_server: Server, connections: requests.Session
) -> None:
    response = case.call(base_url=open_server.url, headers=AUTH, timeout=30, session=connections)
    assert response.status_code < 500 or response.status_code in {501, 503}, response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == ["application/problem+json"], response.headers
        assert json.loads(response.content)["code"]
