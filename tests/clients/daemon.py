"""A daemon that a test starts by itself, on the devnet's chain."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

from node import PATIENCE, Node, wait_for


def free_ports(count):
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def chain_settings(node):
    """Variables that put a daemon on the chain of a devnet's node."""
    ready = json.loads(Path(os.environ["IMP_DEVNET_READY"]).read_text())
    return {
        "IMP_LIGHTNING_LDK_NETWORK": "regtest",
        "IMP_LIGHTNING_LDK_BITCOIND_URL": f"http://{ready['chain']['rpc']}",
        "IMP_LIGHTNING_LDK_BITCOIND_COOKIE_FILE": str(node.data_dir.parent / "chain" / "rpc-cookie"),
    }


def environment(home, settings):
    """That of a user with this home directory and these settings, and of no devnet."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("IMP_")}
    return kept | {"HOME": str(home)} | settings


class Daemon:
    """A running impd; its node is `node`."""

    def __init__(self, impd, arguments, home, settings, listen="127.0.0.1"):
        grpc, http = free_ports(2)
        addresses = {"IMP_SERVER_GRPC_ADDR": f"{listen}:{grpc}", "IMP_SERVER_HTTP_ADDR": f"{listen}:{http}"}
        self.node = Node(f"127.0.0.1:{http}", f"127.0.0.1:{grpc}", data_dir=Path(home, ".imp"))
        self._said = open(Path(home, "said.txt"), "w+b")
        self._process = subprocess.Popen(
            [impd, *arguments],
            env=environment(home, addresses | settings),
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
        )

    def said(self):
        return Path(self._said.name).read_text()

    def wait_ready(self):
        def ready():
            assert self._process.poll() is None, f"impd ended with {self._process.returncode}: {self.said()}"
            try:
                return self.node.get("/ready").status == 200
            except OSError:
                return False

        wait_for("the daemon to be ready", ready)

    def wait_end(self):
        """Its exit code, once it has ended by itself."""
        return self._process.wait(PATIENCE)

    def stop(self):
        """Its exit code after SIGTERM."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(PATIENCE)
        finally:
            self.kill()

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._said.close()
