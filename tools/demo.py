"""Provision one bare EL9 node in a container and show from outside that it is alive; or remove it all again.

usage: demo.py up      what `make demo` runs, after the tools are in place
       demo.py down    what `make demo-clean` runs
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import node

NETWORK = "panda-demo"
NODE = "atlas-pandaserver-09"
ADDRESS = "172.30.25.9"
CONTAINER = node.container_name(NETWORK, NODE)
SERVICE = "pandaserver.cern.ch"
FOLDER = node.ROOT / ".cache" / "demo"
CA = FOLDER / "ca.pem"
PLAYBOOK = ("ansible-playbook", "site.yml", "-l", NODE)
ONTO_NODE = f"ssh -F .cache/ssh/config {ADDRESS}"
SCHEDCONFIG = "/cache/schedconfig/schedconfig.all.json"
SCHEDCONFIG_SECONDS = 60


class DemoError(Exception):
    """What went wrong, where, and what to do about it."""


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step, and print its time when it is done."""
    print(f"\n=== {title}", flush=True)
    start = time.monotonic()
    yield
    print(f"    {time.monotonic() - start:.1f} s", flush=True)


def provision() -> int:
    """Run the playbook as an administrator does; return how many tasks changed something."""
    environment = {**os.environ, "ANSIBLE_INVENTORY": "inventories/demo"}
    if sys.stdout.isatty():
        environment["ANSIBLE_FORCE_COLOR"] = "true"
    print(f"    ANSIBLE_INVENTORY=inventories/demo {' '.join(PLAYBOOK)}", flush=True)
    recap = None
    with subprocess.Popen(PLAYBOOK, cwd=node.ROOT, env=environment, stdout=subprocess.PIPE, text=True) as playbook:
        for line in playbook.stdout or ():
            print(line, end="", flush=True)
            recap = re.search(rf"{NODE}.*:.*ok=.*changed=(\d+)", line) or recap
    if playbook.returncode or not recap:
        raise DemoError(
            f"The playbook failed on {NODE}; the task above says why.\n"
            f"Look at the node with `{ONTO_NODE}`, or begin again with `make demo-clean demo`."
        )
    return int(recap[1])


def fetch(port: int, path: str, *, tls: bool = False) -> http.client.HTTPResponse:
    """GET from the node by its address, under the service's common name, verified against the demo's CA with tls."""
    url = f"{'https' if tls else 'http'}://{SERVICE}:{port}{path}"
    connection = http.client.HTTPConnection(SERVICE, port)
    try:
        connection.sock = socket.create_connection((ADDRESS, port), timeout=10)
        if tls:
            connection.sock = ssl.create_default_context(cafile=CA).wrap_socket(
                connection.sock, server_hostname=SERVICE
            )
        connection.request("GET", path)
        return connection.getresponse()
    except ssl.SSLCertVerificationError as error:
        raise DemoError(
            f"{url} at {ADDRESS} shows a certificate that {CA.relative_to(node.ROOT)} does not vouch for:"
            f" {error.verify_message}.\nMake authority and certificate anew: make demo-clean demo"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise DemoError(
            f"GET {url} at {ADDRESS} failed: {error}.\nSee what runs there: {ONTO_NODE} systemctl status 'panda*' squid"
        ) from error


def show_alive(port: int, path: str, expected: str, *, tls: bool = False) -> None:
    """Fetch a page that says that the node is alive, and print what it says."""
    url = f"{'https' if tls else 'http'}://{ADDRESS}:{port}{path}"
    response = fetch(port, path, tls=tls)
    body = response.read().decode(errors="replace").strip()
    if response.status != http.HTTPStatus.OK or expected not in body:
        raise DemoError(
            f"GET {url} answered {response.status} {body[:200]!r}, not {expected!r}.\n"
            f"See why: {ONTO_NODE} journalctl -n 50 -u panda_wsgi -u panda_httpd"
        )
    print(f"    {url}\n      {body}" + (f"   (certificate of {SERVICE} verified against the demo's CA)" if tls else ""))


def through_squid() -> str:
    """Fetch the queue definitions through squid and return what squid says of it: hit or miss.

    The daemon writes the file within seconds of its first start: until then squid passes on a 404.
    """
    url = f"http://{ADDRESS}:25085{SCHEDCONFIG}"
    deadline = time.monotonic() + SCHEDCONFIG_SECONDS
    while (response := fetch(25085, SCHEDCONFIG)).status != http.HTTPStatus.OK:
        if time.monotonic() > deadline:
            raise DemoError(
                f"GET {url} still answers {response.status} after {SCHEDCONFIG_SECONDS} s: the daemon has not written"
                f" the file.\nSee why: {ONTO_NODE} systemctl status panda_daemon"
            )
        time.sleep(1)
    response.read()
    # Squid 6 says it in the first, squid 5 in the second.
    said = response.getheader("Cache-Status") or response.getheader("X-Cache") or ""
    return "hit" if re.search(r"\bhit\b", said, re.IGNORECASE) else "miss"


def show_squid() -> None:
    """Show that squid serves a second request for the same object from its cache."""
    first, second = through_squid(), through_squid()
    if second != "hit":
        raise DemoError(
            f"squid fetched {SCHEDCONFIG} twice instead of keeping it.\n"
            f"See why: {ONTO_NODE} tail /var/log/squid/access.log"
        )
    earlier = " (it was asked for a short while ago, and is kept for up to 300 s)" if first == "hit" else ""
    print(f"    http://{ADDRESS}:25085{SCHEDCONFIG}\n      first {first}{earlier}, then {second}")


def up() -> None:
    """Make the node, provision it, and show that it is alive; on a node that is there already, change nothing."""
    start = time.monotonic()
    with step("Container engine"):
        node.ensure_engine()
    with step("Node image"):
        print(f"    {node.image_tag('el9')}")
    with step(f"Bare node {NODE}"):
        done = node.boot(NETWORK, NODE, "el9", ADDRESS)
        print(f"    {done}: container {CONTAINER} at {ADDRESS}")
    with step("Provision it"):
        changed = provision()
        print(f"    changed={changed}" + (": the node was as it should be, nothing was changed" if not changed else ""))
    with step("Is it alive, seen from outside?"):
        show_alive(25080, "/server/panda/isAlive", "alive=yes")
        show_alive(25443, "/server/panda/isAlive", "alive=yes", tls=True)
        show_alive(25080, "/api/v1/system/is_alive", '"success": true')
        show_squid()
    print(f"""
Running: {NODE} at {ADDRESS}, a container named {CONTAINER} on this machine.
  http  {ADDRESS}:25080    https {ADDRESS}:25443 (CA: .cache/demo/ca.pem)    squid {ADDRESS}:25085

What to type next:
  {ONTO_NODE}
      onto the node; there: systemctl status 'panda*'
  curl --cacert .cache/demo/ca.pem https://{ADDRESS}:25443/server/panda/isAlive
      ask it yourself
  make demo
      the same again: it changes nothing
  make test
      all tests
  make demo-clean
      remove the node and what belongs to it

make demo took {time.monotonic() - start:.0f} s.""")


def down() -> None:
    """Remove the node, its network, its certificates and its image."""
    if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0:
        print("removed:", ", ".join(node.remove(NETWORK)) or "no node, there was none")
        images = node.run("docker", "image", "ls", "--quiet", "--filter", "label=panda-provision=el9-double").split()
        # One that a test node runs on stays, and docker says so by failing.
        subprocess.run(["docker", "image", "rm", *images], capture_output=True, check=False)
    shutil.rmtree(FOLDER, ignore_errors=True)
    print("kept: the container engine; .venv and what else is in .cache, which `make clean` removes")


def main(arguments: list[str]) -> None:
    """Run `up` or `down`."""
    actions = {"up": up, "down": down}
    if len(arguments) != 1 or arguments[0] not in actions:
        sys.exit(__doc__)
    try:
        actions[arguments[0]]()
    except (DemoError, node.NodeError, OSError) as error:
        sys.exit(f"\ndemo: {error}")
    except KeyboardInterrupt:
        sys.exit("\ndemo: interrupted. `make demo` goes on from here, `make demo-clean` removes what was made.")


if __name__ == "__main__":
    main(sys.argv[1:])
