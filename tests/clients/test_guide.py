"""Every page of the guide, done from its beginning to its end. See `guide` for what is done with its blocks."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from chrome import Chrome
from daemon import chain_settings, environment, free_ports
from guide import Reader, blocks, matches
from node import Node, wait_for

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"
PAGES = sorted(page.name for page in GUIDE.glob("*.md"))

# Pages whose reader has a node of his own, and not those of the devnet.
OWN_NODE = {"running-your-own.md"}

# Pages whose reader has nodes on hosts of their own.
VPN = {"vpn-buying.md", "vpn-selling.md"}

# How long a net of such nodes may take to start and to stop, in seconds.
NET_PATIENCE = 60.0


@pytest.fixture(scope="module")
def vpn_net(tmp_path_factory):
    """The folder of a net in which bob sells a VPN."""
    folder = tmp_path_factory.mktemp("vpn")
    ready, said = folder / "ready.json", folder / "said.txt"
    command = ["imp-devnet", "up", "--vpn", "--ports", "free", "--dir", folder / "net", "--ready-file", ready]
    with said.open("wb") as output:
        net = subprocess.Popen(
            command, env=environment(folder, {}), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        wait_for("the net", lambda: ready.exists() or net.poll() is not None, NET_PATIENCE)
        if net.poll() is not None:
            why = f"no net with a VPN: {said.read_text()}"
            # There it would not be noticed otherwise.
            if os.environ.get("CI") == "true":
                pytest.fail(why)
            pytest.skip(why)
        yield folder
    finally:
        net.terminate()
        net.wait(NET_PATIENCE)


@pytest.fixture
def reader(request, tmp_path):
    """reader(page): one for whom the addresses on the page are real."""
    readers = []

    def nodes(page):
        if page in VPN:
            net = request.getfixturevalue("vpn_net")
            # Where `imp-devnet` looks for a net.
            (tmp_path / ".devnet").symlink_to(net / "net")
            return [Node.of_net(net / "ready.json", name) for name in ("alice", "bob")]
        return [request.getfixturevalue(name) for name in ("alice", "bob")]

    def make(page):
        alice, bob = nodes(page)
        (web,) = free_ports(1)
        addresses, settings = {"8000": str(web)}, {"IMP_ADDR": alice.grpc}
        if page in OWN_NODE:
            grpc, http = (f"127.0.0.1:{port}" for port in free_ports(2))
            addresses |= {"127.0.0.1:8881": grpc, "127.0.0.1:8882": http}
            settings = chain_settings(alice) | {
                "IMP_ADDR": grpc,
                "IMP_SERVER_GRPC_ADDR": grpc,
                "IMP_SERVER_HTTP_ADDR": http,
            }
        else:
            addresses |= {"127.0.0.1:8881": alice.grpc, "127.0.0.1:8882": alice.http}
            addresses |= {"127.0.0.1:9991": bob.grpc, "127.0.0.1:9992": bob.http}
        hosts = {"localhost:8000": f"127.0.0.1:{web}", "127.0.0.1:8882": alice.http, "127.0.0.1:9992": bob.http}
        readers.append(Reader(tmp_path, environment(tmp_path, settings), addresses, lambda: Chrome(hosts)))
        return readers[-1]

    yield make
    for one in readers:
        one.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_true(page, reader):
    reader(page).read((GUIDE / page).read_text())


def test_there_is_a_guide_and_its_index_names_every_page():
    index = (GUIDE / "README.md").read_text()
    assert len(PAGES) > 5
    assert [page for page in PAGES if page != "README.md" and f"({page})" not in index] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_within_the_repository_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?://)([^)#]+)", (GUIDE / page).read_text())
    assert [link for link in links if not (GUIDE / link).exists()] == []


def test_the_settings_of_services_and_containers_are_such(impd, tmp_path):
    """The unit and the composition of the page cannot be run here, but what they set can be checked."""
    page = blocks((GUIDE / "running-your-own.md").read_text())
    files = {block.words["file"]: block.text for block in page if "file" in block.words}
    unit = dict(re.findall(r"^Environment=(\w+)=(.*)$", files["impd.service"], re.M))
    command = re.search(r"^ExecStart=\S+/impd (.*)$", files["impd.service"], re.M)[1].split()
    container = yaml.safe_load(files["compose.yml"])["services"]["imp"]["environment"]
    (tmp_path / "config.yml").write_text("")
    arguments = [word.replace("/etc/imp", str(tmp_path)) for word in command]
    for settings, options in [(unit, arguments), (container, [])]:
        assert settings
        env = environment(tmp_path, settings)
        done = subprocess.run([impd, "config", "check", *options], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        # A variable that is no key is of no effect, and is not told of.
        known = subprocess.run([impd, "--help"], env=env, capture_output=True, text=True).stdout
        flags = {"--" + name.removeprefix("IMP_").lower().replace("_", "-") for name in settings}
        assert flags <= set(re.findall(r"--[\w-]+", known))


class TestReader:
    """A reader who believes everything would find every page true."""

    @pytest.fixture
    def strict(self, tmp_path):
        reader = Reader(tmp_path, dict(os.environ), {"127.0.0.1:8882": "127.0.0.1:1"})
        yield reader
        reader.close()

    @pytest.mark.parametrize("page", [
        "```sh\nfalse\n```\n",
        "```sh\nfalse\ntrue\n```\n",
        "```sh exit=3\ntrue\n```\n",
        "```python\nprint()\n```\n",
        "```sh no-run\ntrue\n```\n",
        "```sh loudly\ntrue\n```\n",
        "```text\nof nothing\n```\n",
    ])
    def test_what_is_wrong_is_found(self, strict, page):
        with pytest.raises(AssertionError):
            strict.read(page)

    def test_another_output_is_found(self, strict):
        with pytest.raises(AssertionError, match="instead there is:\nb"):
            strict.read("```sh\necho b\n```\n```text\na\n```\n")

    def test_what_is_right_is_believed(self, strict):
        strict.read("""
```sh
NAME=world; echo "hello $NAME"
```
```sh file=greet.sh
echo "hello, 127.0.0.1:8882 and $1"
```
```sh
sh greet.sh "$NAME"
```
```text
hello, 127.0.0.1:8882 and ...
```
```sh terminal=2
echo first; cat
```
```text terminal=2
first
```
```sh terminal=2
echo second
```
```text terminal=2
...
second
```
```sh exit=7
(exit 7)
```
""")

    @pytest.mark.parametrize(("expected", "shown", "fits"), [
        ("a\n", "a\n", True),
        ("a", "a\nb", False),
        ('{"id":"..."}', '{"id":"7"}', True),
        ("a...c", "a\nc", False),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("a\n...", "a", False),
        ("a\n...", "a\nb\nc", True),
        ("...\nb", "b", True),
        (".", "x", False),
    ])
    def test_dots_stand_for_what_may_differ(self, expected, shown, fits):
        assert matches(expected, shown) == fits

    def test_a_missing_program_is_told_of(self, strict):
        with pytest.warns(UserWarning, match="no-such-program is not installed"):
            strict.read("```sh needs=no-such-program\nno-such-program\n```\n```text\nits output\n```\n")

    def test_info_strings_are_read(self):
        (block,) = blocks('text\n```sh no-run="takes minutes"\na\nb\n```\n')
        assert (block.line, block.language, block.words) == (2, "sh", {"no-run": "takes minutes"})
        assert block.text == "a\nb\n"
