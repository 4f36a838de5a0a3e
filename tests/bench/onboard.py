"""Measure how long onboarding a bare node takes, into a small and into a large fleet, and print the ratio.

The other nodes are light: hosts with systemd, firewalld and squid, which is all that onboarding touches on them. The
newcomer is a whole node on SQLite, made anew for each round.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".cache" / "bench-onboard"
NETWORK, SUBNET, NEWCOMER = "bench-onboard", "172.30.46", "atlas-pandaserver-99"
SMALL, LARGE = 3, 9
# Host number of the first light node; the engine itself is number 1.
FIRST = 11
GOAL = 1.2

PEERS = """\
- name: Set up the caches of light nodes
  hosts: panda_servers
  gather_facts: false
  pre_tasks:
    - name: Install firewalld
      ansible.builtin.dnf:
        name: [firewalld, squid]
        use_backend: dnf4
    - name: Start firewalld
      ansible.builtin.systemd_service:
        name: firewalld.service
        state: started
  roles:
    - role: squid
"""


def name_of(number: int) -> str:
    """The inventory's name of a light node."""
    return f"atlas-pandaserver-{number:02d}"


def run(log: str, *command: str) -> str:
    """Run a command with its output in a file; return the output, or end with the last of it."""
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    (WORK / f"{log}.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}:\n{tail}")
    return done.stdout


def boot(name: str, number: int) -> None:
    """Boot a node, or keep it."""
    run(f"boot-{name}", sys.executable, "tools/node.py", "boot", NETWORK, name, "el9", f"{SUBNET}.{number}")


def write_inventory(size: int, *, newcomer: bool) -> str:
    """Write the inventory of a fleet of so many nodes, with or without the newcomer; return its path."""
    nodes = {name_of(number): {"ansible_host": f"{SUBNET}.{FIRST + number}"} for number in range(size)}
    if newcomer:
        nodes[NEWCOMER] = {"ansible_host": f"{SUBNET}.99"}
    variables = {
        "ansible_user": "root",
        "ansible_ssh_common_args": f"-F {ROOT}/.cache/ssh/config",
        "panda_server_certificate_source": "demo_ca",
        "panda_server_demo_ca": str(WORK / "ca"),
        "panda_server_num_wsgi": 2,
        "squid_cache_mem": 8,
        "squid_firewall_manage": True,
    }
    groups: dict[str, object] = {"load_balancers": {}, "panda_offboarded": {}}
    path = WORK / f"fleet-of-{size}{'-and-newcomer' if newcomer else ''}.yml"
    path.write_text(yaml.safe_dump({**groups, "panda_servers": {"hosts": nodes, "vars": variables}}))
    return str(path)


def onboard(size: int, number: int) -> float:
    """Bring a bare node into a fleet of so many nodes; return the seconds."""
    subprocess.run(["docker", "rm", "--force", f"{NETWORK}.{NEWCOMER}"], capture_output=True, check=False)
    run(
        f"peers-{size}",
        "ansible-playbook",
        "-i",
        write_inventory(size, newcomer=False),
        str(WORK / "peers.yml"),
        # Nothing answers behind these caches.
        "--skip-tags=squid_verify",
    )
    inventory = write_inventory(size, newcomer=True)
    boot(NEWCOMER, 99)
    began = time.monotonic()
    output = run(
        f"onboard-{size}-{number}",
        "ansible-playbook",
        "-i",
        inventory,
        "playbooks/onboard.yml",
        "-e",
        f"node={NEWCOMER}",
    )
    seconds = time.monotonic() - began
    changed = re.findall(r"^(\S+)\s+: ok=\d+\s+changed=([1-9]\d*)", output, re.MULTILINE)
    if len(changed) != size + 1:
        sys.exit(f"not every node of the fleet of {size} learned of the newcomer, only {changed}")
    return seconds


def main() -> None:
    """Measure, print, and leave nothing behind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="how often each is measured; the median counts")
    rounds = parser.parse_args().rounds
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "peers.yml").write_text(PEERS)
    try:
        for number in range(LARGE):
            boot(name_of(number), FIRST + number)
        seconds: dict[int, list[float]] = {SMALL: [], LARGE: []}
        for number in range(rounds):
            for size in seconds:
                seconds[size].append(onboard(size, number))
                print(f"into a fleet of {size}: {seconds[size][-1]:.1f} s", flush=True)
        small, large = (statistics.median(seconds[size]) for size in (SMALL, LARGE))
        print(f"median {small:.1f} s into {SMALL}, {large:.1f} s into {LARGE}: ratio {large / small:.2f} (goal {GOAL})")
    finally:
        run("remove", sys.executable, "tools/node.py", "remove", NETWORK)


if __name__ == "__main__":
    main()
