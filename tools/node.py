#!/usr/bin/env python3
"""Boot and remove test nodes: containers that run systemd and are reached over ssh, as production nodes are.

usage: node.py boot NETWORK NAME IMAGE ADDRESS    boot a node, or keep the one of that name; print what was done
       node.py database NETWORK NAME ADDRESS      the same for a PostgreSQL server (database and role: panda)
       node.py remove NETWORK                     remove a network and every node on it

IMAGE is el9 or debian12 (see molecule/images/build.sh). The network is made with the /24 around ADDRESS.
A node is reached with `ssh -F .cache/ssh/config ADDRESS`. Its container is named NETWORK.NAME, so that one host name
may live on several networks; `docker stop NETWORK.NAME` and `docker start NETWORK.NAME` take it away and bring it back.
"""

from __future__ import annotations

import fcntl
import io
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SSH = ROOT / ".cache" / "ssh"
SSH_CONFIG = SSH / "config"
KEY = SSH / "id_ed25519"
HOST_KEY = SSH / "host_ed25519"
LABEL = "panda-provision"
BOOT_SECONDS = 30
WHAT_WAS_DONE = {"": "booted", "running": "kept"}

# Not docker's own resolver: it works through firewall rules in the node, which firewalld removes when it starts.
RESOLVED = Path("/run/systemd/resolve/resolv.conf")
RESOLV_CONF = RESOLVED if RESOLVED.exists() else Path("/etc/resolv.conf")

SYSTEMD_FLAGS = (
    # Not --privileged: it asks for more than many machines may give. systemd needs SYS_ADMIN, firewalld NET_ADMIN,
    # and SYS_PTRACE lets a check name the process that holds a port.
    "--cap-add=SYS_ADMIN",
    "--cap-add=NET_ADMIN",
    "--cap-add=SYS_PTRACE",
    "--security-opt=seccomp=unconfined",
    "--tmpfs=/run",
    "--tmpfs=/run/lock",
    "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw",
    "--cgroupns=host",
    f"--volume={RESOLV_CONF}:/etc/resolv.conf:ro",
    # systemd's own signal for a clean stop.
    "--stop-signal=SIGRTMIN+3",
    # `systemctl reboot` ends the container: started again, the node comes back, as a machine does. Only `docker stop`
    # keeps it down.
    "--restart=unless-stopped",
)

# SIGINT is PostgreSQL's fast shutdown: sessions are ended, nothing is lost.
DATABASE_FLAGS = ("--user=postgres", "--stop-signal=SIGINT")
DATABASE_COMMAND = (
    "/usr/lib/postgresql/15/bin/postgres",
    "-D/var/lib/postgresql/15/main",
    "--config_file=/etc/postgresql/15/main/postgresql.conf",
)

SSH_CONFIG_TEXT = f"""\
# Written by tools/node.py, for the test nodes only.
User root
IdentityFile "{KEY}"
IdentitiesOnly yes
UserKnownHostsFile "{SSH}/known_hosts"
GlobalKnownHostsFile /dev/null
StrictHostKeyChecking yes
CheckHostIP no
"""


class NodeError(Exception):
    """What went wrong, where, and what to do about it."""


def run(*command: str, stdin: bytes | None = None) -> str:
    """Run a command and return its output without the last newline; NodeError with its message if it fails."""
    result = subprocess.run(command, input=stdin, capture_output=True, check=False)
    if result.returncode:
        raise NodeError(f"{' '.join(command[:3])} failed: {result.stderr.decode().strip()}")
    return result.stdout.decode().rstrip("\n")


@contextmanager
def locked() -> Iterator[None]:
    """Hold off other runs: docker would make two networks of one name, ssh-keygen would ask whether to overwrite."""
    SSH.mkdir(parents=True, exist_ok=True)
    with open(SSH / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def ensure_keys() -> None:
    """Make, once, the key that opens every test node and the one host key that they all show.

    One host key makes known_hosts a constant, so that nobody is asked about a node that was made anew.
    """
    for key, comment in ((KEY, "panda-provision test nodes"), (HOST_KEY, "panda-provision test node host key")):
        if not key.exists():
            try:
                run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(key))
            except FileNotFoundError as error:
                raise NodeError("ssh-keygen is not installed here: apt-get install openssh-client") from error
    (SSH / "known_hosts").write_text(f"* {HOST_KEY.with_suffix('.pub').read_text()}")
    SSH_CONFIG.write_text(SSH_CONFIG_TEXT)


def ssh_files() -> bytes:
    """The archive that lets the key in and gives the node its host key."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, mode, content in (
            ("root/.ssh", 0o700, None),
            ("root/.ssh/authorized_keys", 0o600, KEY.with_suffix(".pub").read_bytes()),
            ("etc/ssh/ssh_host_ed25519_key", 0o600, HOST_KEY.read_bytes()),
            ("etc/ssh/ssh_host_ed25519_key.pub", 0o644, HOST_KEY.with_suffix(".pub").read_bytes()),
        ):
            entry = tarfile.TarInfo(path)
            entry.mode = mode
            entry.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            entry.size = len(content or b"")
            tar.addfile(entry, io.BytesIO(content or b""))
    return archive.getvalue()


def ensure_engine() -> None:
    """Let tools/engine.sh install and start a container engine where none answers; it says what it does."""
    if subprocess.run([ROOT / "tools" / "engine.sh"], check=False).returncode:
        raise NodeError("there is no container engine, for the reason above")


def image_tag(image: str) -> str:
    """Build the image if need be, its progress going to the terminal, and return its tag."""
    build = subprocess.run(
        [ROOT / "molecule" / "images" / "build.sh", image], stdout=subprocess.PIPE, text=True, check=False
    )
    if build.returncode:
        raise NodeError(f"the image {image} could not be built, for the reason above")
    return build.stdout.strip()


def network_exists(network: str) -> bool:
    """Whether docker has a network of exactly this name."""
    return network in run("docker", "network", "ls", "--format={{.Name}}").splitlines()


def ensure_network(network: str, address: str) -> None:
    """Make the network, with the /24 around the address, unless it exists."""
    if not network_exists(network):
        subnet = IPv4Network(f"{address}/24", strict=False)
        run("docker", "network", "create", f"--label={LABEL}", f"--subnet={subnet}", network)


def container_name(network: str, name: str) -> str:
    """The name by which docker knows a node."""
    return f"{network}.{name}"


def wait_for_port(container: str, address: str, port: int, greeting: bytes = b"") -> None:
    """Return when the port of a booting node answers, with the greeting if one is given."""
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((address, port), timeout=1) as connection:
                if connection.recv(len(greeting)).startswith(greeting) if greeting else True:
                    return
        except OSError:
            pass
        time.sleep(0.05)
    log = subprocess.run(["docker", "logs", "--tail=5", container], capture_output=True, text=True, check=False)
    raise NodeError(
        f"{container} does not answer on {address}:{port} after {BOOT_SECONDS} s. It last said:\n"
        f"{log.stdout}{log.stderr}\n"
        f"To look into it: docker exec -it {container} bash; to throw it away: docker rm -f {container}"
    )


def container_state(container: str) -> str:
    """Return running, exited or the like; empty if there is no such container."""
    return run("docker", "container", "ls", "--all", f"--filter=name=^{re.escape(container)}$", "--format={{.State}}")


def create_container(
    network: str, name: str, image: str, address: str, flags: Iterable[str], command: Iterable[str] = ()
) -> None:
    """Create a container with a fixed address, not started; build its image and make its network if need be."""
    tag = image_tag(image)
    ensure_network(network, address)
    container = container_name(network, name)
    place = (f"--name={container}", f"--hostname={name}", f"--network={network}", f"--ip={address}")
    run("docker", "create", f"--label={LABEL}", *place, *flags, tag, *command)


def boot(network: str, name: str, image: str, address: str) -> str:
    """Boot a node unless it runs, wait until ssh answers, and return what was done: booted, started or kept."""
    ensure_engine()
    container = container_name(network, name)
    with locked():
        ensure_keys()
        state = container_state(container)
        if not state:
            create_container(network, name, image, address, SYSTEMD_FLAGS)
            run("docker", "cp", "-", f"{container}:/", stdin=ssh_files())
        run("docker", "start", container)
    wait_for_port(container, address, 22, b"SSH-")
    return WHAT_WAS_DONE.get(state, "started")


def database(network: str, name: str, address: str) -> str:
    """Start a PostgreSQL server unless it runs, wait until it answers, and return what was done."""
    ensure_engine()
    container = container_name(network, name)
    with locked():
        state = container_state(container)
        if not state:
            create_container(network, name, "database", address, DATABASE_FLAGS, DATABASE_COMMAND)
        run("docker", "start", container)
    wait_for_port(container, address, 5432)
    return WHAT_WAS_DONE.get(state, "started")


def remove(network: str) -> list[str]:
    """Remove every container on the network and the network; return the names of what was removed."""
    if not shutil.which("docker"):
        return []  # no engine has ever run here
    ensure_engine()
    names = run("docker", "container", "ls", "--all", f"--filter=network={network}", "--format={{.Names}}").split()
    if names:
        run("docker", "container", "rm", "--force", "--volumes", *names)
    if network_exists(network):
        run("docker", "network", "rm", network)
        names.append(network)
    return names


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    try:
        match arguments:
            case ["boot", network, name, image, address]:
                print(f"{name}: {boot(network, name, image, address)} at {address}")
            case ["database", network, name, address]:
                print(f"{name}: {database(network, name, address)} at {address}")
            case ["remove", network]:
                print("removed:", ", ".join(remove(network)) or "nothing, there was none")
            case _:
                sys.exit(__doc__)
    except (NodeError, OSError) as error:
        sys.exit(f"node.py: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
