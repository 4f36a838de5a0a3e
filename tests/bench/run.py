"""Measure bare node to alive, and a run that changes nothing, beside a shell script that does the same.

All on one machine, in one run, over ssh, on fresh containers of one image. The median of several
rounds goes into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import accelerator  # noqa: E402  found through the line above

HERE = Path(__file__).resolve().parent
WORK = ROOT / ".cache" / "bench"
REPORT = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- written by `make bench`: begin -->", "<!-- written by `make bench`: end -->"

NETWORK, NODE, ADDRESS = "bench", "atlas-pandaserver-09", "172.30.45.9"

# What the roles write and a person would write by hand; folders are made by by_hand.sh itself.
CONFIGURATION = (
    "/data/atlpan/etc",
    "/etc/firewalld/policies",
    "/etc/grid-security",
    "/etc/logrotate.d/panda_server",
    "/etc/panda",
    "/etc/squid/squid.conf",
    "/etc/sysconfig/panda_server_env",
    "/etc/sysctl.d/60-panda.conf",
    "/etc/systemd/system/panda*.service",
    "/etc/systemd/system/panda*.socket",
)

BY_HAND = "by hand, plain shell over ssh"
FIRST = "ansible-playbook, bare node to alive"
AGAIN = "ansible-playbook, nothing to change"
FIRST_FAST = "with mitogen, bare node to alive"
AGAIN_FAST = "with mitogen, nothing to change"


class BenchError(Exception):
    """A measured run that did not do what it should."""


@dataclass
class Series:
    """What was measured of one kind of run, once in each round."""

    seconds: list[float] = field(default_factory=list)
    tasks: str = ""
    modules: str = ""

    @property
    def median(self) -> float:
        """Return the median of the seconds."""
        return statistics.median(self.seconds)


def run(name: str, command: list[str], environment: dict[str, str] | None = None) -> str:
    """Run a command with its output in a file of that name; return the output, or say where it failed."""
    log = WORK / f"{name}.log"
    with log.open("w") as output:
        status = subprocess.run(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False,
            env={**os.environ, **(environment or {})},
        ).returncode  # fmt: skip
    text = log.read_text()
    if status != 0:
        tail = "\n".join(text.splitlines()[-25:])
        raise BenchError(f"{' '.join(command)} ended with status {status}; the end of {log}:\n{tail}")
    return text


def boot_node() -> None:
    """Replace the node by a bare one."""
    run("remove", ["tools/node.py", "remove", NETWORK])
    run("boot", ["tools/node.py", "boot", NETWORK, NODE, "el9", ADDRESS])


def assert_alive() -> None:
    """Ask the node from outside, so that no measured run counts that did not end in a working node."""
    for url, expected in (
        (f"http://{ADDRESS}:25080/server/panda/isAlive", "alive=yes"),
        (f"http://{ADDRESS}:25085/cache/schedconfig/schedconfig.all.json", ""),
    ):
        for attempt in range(20):
            try:
                body = urllib.request.urlopen(url, timeout=10).read().decode()
                break
            except OSError as error:
                # The daemon writes the first schedconfig file in its own time.
                if attempt == 19:
                    raise BenchError(f"{url} does not answer from outside the node: {error}") from error
                time.sleep(0.5)
        if expected not in body:
            raise BenchError(f"{url} answers {body!r}, not {expected!r}")


def provision(name: str, series: Series, wheelhouse: str, *, first: bool, fast: bool = False) -> None:
    """Run site.yml against the node, timed, and count what it executed there."""
    executions = WORK / "executions.txt"
    executions.write_text("")
    environment = {
        "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
        "ANSIBLE_CALLBACKS_ENABLED": "executions",
        "EXECUTIONS_FILE": str(executions),
        # Each run opens a connection of its own.
        "ANSIBLE_SSH_CONTROL_PATH_DIR": f"/tmp/panda-bench-{os.getpid()}-{time.monotonic_ns()}",
    } | (accelerator.environment() if fast else {})
    began = time.monotonic()
    output = run(
        name,
        [
            *("ansible-playbook", "--inventory", "inventories/demo", "site.yml", "--limit", NODE),
            *("--extra-vars", f"ansible_host={ADDRESS}", "--extra-vars", f"panda_server_demo_ca={WORK / 'ca'}"),
            # Named, so that an edit of app/ meanwhile does not change what is measured.
            *("--extra-vars", f"panda_server_wheelhouse={wheelhouse}"),
        ],
        environment,
    )
    series.seconds.append(time.monotonic() - began)
    recap = re.search(rf"^{NODE} .*ok=(\d+) +changed=(\d+) .*failed=0", output, re.MULTILINE)
    if recap is None:
        raise BenchError(f"{name}: the recap does not speak of a good run of {NODE}; see {WORK / name}.log")
    ok, changed = recap.groups()
    if (changed != "0") != first:
        raise BenchError(f"{name}: changed={changed}, expected {'some' if first else '0'}; see {WORK / name}.log")
    lines = [line.split("\t") for line in executions.read_text().splitlines()]
    kinds = [kind.split()[0] for host, kind, _ in lines if host == ADDRESS]
    series.tasks = f"{ok}, {changed} changed"
    series.modules = f"{kinds.count('module')} + {kinds.count('file')} files sent"
    assert_alive()


def by_hand(series: Series, wheelhouse: str, files: Path) -> None:
    """Run by_hand.sh against the node, timed."""
    began = time.monotonic()
    run("by-hand", ["tests/bench/by_hand.sh", ADDRESS, wheelhouse, str(files)])
    series.seconds.append(time.monotonic() - began)
    assert_alive()


def save_configuration(files: Path) -> None:
    """Take what the roles wrote from the node, for by_hand.sh to use."""
    command = f"tar --create --absolute-names --directory / {' '.join(CONFIGURATION)}"
    with files.open("wb") as output:
        subprocess.run(["ssh", "-F", ".cache/ssh/config", ADDRESS, command], cwd=ROOT, stdout=output, check=True)


def describe_machine() -> str:
    """Return processor, cores, memory and kernel of this machine in one line."""
    processor = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    name = processor.group(1) if processor else platform.machine()
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}"


def verdict(value: float, limit: float) -> str:
    """Return whether a ratio keeps its limit, for a person to read."""
    return f"{value:.2f} (at most {limit:.2f}: {'kept' if value <= limit else 'MISSED'})"


def report(results: dict[str, Series], rounds: int) -> str:
    """Return the results as markdown."""
    hand = results[BY_HAND].median
    now = datetime.datetime.now(datetime.UTC)
    lines = [
        f"{now:%d %B %Y}, {describe_machine()}; median (fastest to slowest) of {rounds} rounds on the EL9 double.",
        "",
        "| run | seconds | beside by hand | tasks | module executions on the node |",
        "|---|---|---|---|---|",
    ]
    for name, series in results.items():
        spread = f"{series.median:.1f} ({min(series.seconds):.1f} to {max(series.seconds):.1f})"
        lines.append(f"| {name} | {spread} | {series.median / hand:.2f} | {series.tasks} | {series.modules} |")
    again = results[AGAIN].median / results[FIRST].median
    lines += [
        "",
        f"- first run beside by hand: {verdict(results[FIRST].median / hand, 2)}",
        f"- first run with mitogen beside by hand: {verdict(results[FIRST_FAST].median / hand, 1.5)}",
        f"- a run that changes nothing beside the first: {verdict(again, 1 / 3)}",
        f"- the same with mitogen: {results[AGAIN_FAST].median / results[FIRST_FAST].median:.2f}",
    ]
    return "\n".join(lines)


def measure(rounds: int) -> dict[str, Series]:
    """Run all kinds of runs in turn, so that what else the machine does meets them alike."""
    results = {name: Series() for name in (BY_HAND, FIRST, AGAIN, FIRST_FAST, AGAIN_FAST)}
    files = WORK / "files.tar"

    def announce(number: int, name: str) -> None:
        series = results[name]
        print(f"bench: round {number} of {rounds}: {name}: {series.seconds[-1]:.1f} s {series.modules}", flush=True)

    print("bench: preparing: wheelhouse, node image and one run that does not count", flush=True)
    wheelhouse = run("wheelhouse", [sys.executable, "tools/wheelhouse.py"]).splitlines()[-1]
    boot_node()
    provision("prepare", Series(), wheelhouse, first=True)
    save_configuration(files)
    for number in range(1, rounds + 1):
        boot_node()
        by_hand(results[BY_HAND], wheelhouse, files)
        announce(number, BY_HAND)
        for first, again, fast in ((FIRST, AGAIN, False), (FIRST_FAST, AGAIN_FAST, True)):
            boot_node()
            provision("first", results[first], wheelhouse, first=True, fast=fast)
            announce(number, first)
            provision("again", results[again], wheelhouse, first=False, fast=fast)
            announce(number, again)
    run("remove", ["tools/node.py", "remove", NETWORK])
    return results


def main() -> None:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each kind of run is measured")
    rounds = parser.parse_args().rounds
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        run("engine", ["tools/engine.sh"])
        text = report(measure(rounds), rounds)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    before, _, rest = REPORT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    REPORT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
    print(f"\n{text}\n\nbench: written to {REPORT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
