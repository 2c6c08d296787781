"""The metrics, as Prometheus reads them: and nothing in them tells of keys, messages or peers."""

import re

import pytest
from node import UUID4

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)?,?\}})? (-?[0-9.eE+-]+|NaN|[+-]Inf)(?: [0-9]+)?")
COMMENT = re.compile(rf"# (?:HELP {NAME} .*|TYPE {NAME} (?:counter|gauge|histogram|summary|untyped))")


@pytest.fixture
def metrics(alice, bob, text):
    """What the node tells once it has sent something."""
    alice.send(text, bob)
    reply = alice.get("/metrics")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain")
    return reply.body.decode()


def test_every_line_is_in_the_text_format(metrics):
    assert metrics.endswith("\n")
    for line in metrics.splitlines():
        assert not line or COMMENT.fullmatch(line) or SAMPLE.fullmatch(line), line


def test_every_metric_has_its_type_and_the_projects_name(metrics):
    typed = set(re.findall(rf"^# TYPE ({NAME})", metrics, re.M))
    named = {re.sub("_(bucket|sum|count)$", "", name) if re.sub("_(bucket|sum|count)$", "", name) in typed else name
             for name in re.findall(rf"^({NAME})[{{ ]", metrics, re.M)}
    assert named and named <= typed
    assert all(name.startswith(("imp_", "process_")) for name in named), named


def test_no_key_id_or_peer_is_in_it(alice, bob, metrics, text):
    assert not re.search("[0-9a-f]{64}", metrics)
    assert not UUID4.search(metrics)
    for secret in (alice.pubkey, bob.pubkey, text, "127.0.0.1"):
        assert secret not in metrics


def test_pages_of_other_sites_do_not_get_them(alice):
    assert alice.get("/metrics", {"Origin": "http://elsewhere.example"}).refusal()["code"] == 7
