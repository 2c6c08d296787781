"""The configuration file of 2021, unchanged, in every way in which its users named it."""

import re
from pathlib import Path

import pytest
import yaml
from daemon import Daemon, chain_settings
from node import wait_for

CONFIG = Path(__file__).with_name("config-2021.yml")

# What the daemon leaves with where the configuration cannot be used.
UNUSABLE = 64


@pytest.fixture
def start(impd, alice, tmp_path):
    """start(arguments, settings, ..): a daemon with a home of its own, on the devnet's chain."""
    daemons = []

    def run(arguments, settings=None, **options):
        daemons.append(Daemon(impd, arguments, tmp_path, chain_settings(alice) | (settings or {}), **options))
        return daemons[-1]

    yield run
    for daemon in daemons:
        daemon.kill()


@pytest.fixture
def with_lnd(tmp_path):
    """The file as that of a user who had filled in the LND node."""
    config = yaml.safe_load(CONFIG.read_text())
    lnd = config["lightning"]["lnd_node"]
    lnd["pub_key"] = "03ad156742a9a9d0e82e0022f264d6857addfd534955d5e97de4a695bf8dd12af0"
    for key, name in [("tls_cert", "tls.cert"), ("admin_macaroon", "admin.macaroon")]:
        lnd[key] = str(tmp_path / name)
        (tmp_path / name).write_bytes(b"not to be read by this version")
    file = tmp_path / "lnd.yml"
    file.write_text(yaml.safe_dump(config))
    return file


@pytest.mark.parametrize("spelling", [
    ["--config", "{}"],
    ["--config={}"],
    ["-config", "{}"],
    ["-config={}"],
], ids=" ".join)
def test_it_starts_as_it_is(start, spelling):
    daemon = start([word.format(CONFIG) for word in spelling])
    daemon.wait_ready()
    assert re.fullmatch("0[23][0-9a-f]{64}", daemon.node.get("/v1/node").answer()["pubkey"])
    assert daemon.stop() == 0, daemon.said()


def test_it_is_found_where_containers_mount_it(start, tmp_path):
    """Without a flag: config/config.yml below the working directory."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yml").write_text(CONFIG.read_text())
    daemon = start([])
    daemon.wait_ready()
    assert daemon.stop() == 0
    assert "config/config.yml" in (daemon.node.data_dir / "log.txt").read_text()


def test_placeholders_are_told_of_and_not_used(start):
    daemon = start(["--config", str(CONFIG)])
    daemon.wait_ready()
    log = (daemon.node.data_dir / "log.txt").read_text()
    for key in ("lightning.lnd_node.pub_key", "vpn.server_ip", "socket.server_ip"):
        assert key in log, f"{key} is not in the log"
    assert "supersecretpassword" not in log + daemon.said()


def test_a_filled_in_lnd_node_is_refused_with_the_way_on(start, with_lnd):
    daemon = start(["--config", str(with_lnd)])
    assert daemon.wait_end() == UNUSABLE
    said = daemon.said()
    assert "lightning.lnd_node is filled in" in said and "this version cannot use one yet" in said, said
    assert "lightning.backend" in said and "backend: ldk" in said and str(with_lnd) in said, said


@pytest.mark.parametrize("way", ["variable", "flag", "file"])
def test_the_embedded_node_overrides_a_filled_in_lnd_node(start, with_lnd, way):
    arguments, settings = ["--config", str(with_lnd)], {}
    if way == "variable":
        settings["IMP_LIGHTNING_BACKEND"] = "ldk"
    elif way == "flag":
        arguments += ["--lightning-backend", "ldk"]
    else:
        config = yaml.safe_load(with_lnd.read_text())
        config["lightning"]["backend"] = "ldk"
        with_lnd.write_text(yaml.safe_dump(config))
    daemon = start(arguments, settings)
    daemon.wait_ready()
    assert daemon.node.get("/v1/node").answer()["backend"] == "ldk"


class TestContainer:
    """Containers listen on every address, which is refused until the owner says that it is meant."""

    def test_every_address_is_refused_and_nothing_is_opened(self, start):
        daemon = start(["--config", str(CONFIG)], listen="0.0.0.0")
        assert daemon.wait_end() == UNUSABLE
        said = daemon.said()
        for key in ("server.grpc_addr", "server.http_addr"):
            assert key in said, said
        assert "IMP_SERVER_INSECURE" in said and "can spend this node's money" in said, said
        assert not (daemon.node.data_dir / "imp.db").exists()

    def test_every_address_is_opened_where_it_is_meant(self, start):
        daemon = start(["--config", str(CONFIG)], {"IMP_SERVER_INSECURE": "true"}, listen="0.0.0.0")
        daemon.wait_ready()
        assert daemon.node.get("/v1/node").status == 200


def test_the_log_is_where_scripts_of_2021_look_for_it(start):
    daemon = start(["--config", str(CONFIG)])
    daemon.wait_ready()
    log = daemon.node.data_dir / "log.txt"
    wait_for("the log", lambda: log.exists() and log.read_text())
    assert log.stat().st_mode & 0o777 == 0o600
