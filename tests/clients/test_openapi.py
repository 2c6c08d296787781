"""The OpenAPI document, as its readers check it."""

import re

import pytest
from openapi_spec_validator import validate


@pytest.fixture(scope="module")
def document(alice):
    reply = alice.get("/docs/openapi.json")
    assert reply.headers["content-type"] == "application/json"
    return reply.answer()


def test_the_document_is_valid(document):
    assert document["openapi"].startswith("3.")
    validate(document)


def test_every_call_is_in_it_with_its_comment(document, repository):
    calls = {}
    for proto in (repository / "proto").rglob("*.proto"):
        for method, path in re.findall(r'\(imp\.http\) = \{ (get|post): "([^"]+)" \}', proto.read_text()):
            calls[method, path] = document["paths"].get(path, {}).get(method)
    assert len(calls) > 20
    assert not [call for call, operation in calls.items() if not operation]
    assert all(operation.get("summary") or operation.get("description") for operation in calls.values())


def test_what_a_path_names_is_a_parameter(document):
    for path, operations in document["paths"].items():
        named = set(re.findall(r"\{(\w+)\}", path))
        for method, operation in operations.items():
            if method in ("get", "post"):
                given = {one["name"] for one in operation.get("parameters", []) if one.get("in") == "path"}
                given |= {one["name"] for one in operations.get("parameters", []) if one.get("in") == "path"}
                assert given == named, f"{method} {path}"
