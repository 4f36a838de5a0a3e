"""The public package under gunicorn behind our httpd, beside Apache + mod_wsgi as its documentation sets it up.

Both run on one Debian 12 node, from one virtual environment and one configuration, with the same number of application
processes, and are asked in turns. Requests per second depend on what else the machine does; what a request costs in
processor time does much less, so both are told. Memory is the proportional share (PSS) of all processes of a unit.

    python tests/bench/payload/run.py --rounds 5 --seconds 10      (needs wrk)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
SSH_CONFIG = ROOT / ".cache" / "ssh" / "config"
MOD_WSGI = "mod-wsgi==6.1.1"
WORKERS = 2
PASSWORD = 'Kept-in"one%place'
PATH = "/api/v1/system/is_alive"
OURS, REFERENCE = "gunicorn behind httpd", "Apache + mod_wsgi"
UNITS = {OURS: ("panda_httpd.service", "panda_wsgi.service"), REFERENCE: ("panda_reference.service",)}
PORTS = {OURS: (25080, 25443), REFERENCE: (26080, 26443)}

# After the package's panda_server-httpd.conf.rpmnew, with the same figures for workers as the role's defaults and
# without gridsite, which neither side uses.
CONFIGURATION = """
ServerRoot /etc/panda
PidFile /run/panda_reference/httpd.pid
DefaultRuntimeDir /run/panda_reference
{modules}
LoadModule wsgi_module {mod_wsgi}
Timeout 600
KeepAliveTimeout 600
StartServers 25
MinSpareThreads 25
ServerLimit 512
MaxSpareThreads 512
MaxRequestWorkers 512
MaxConnectionsPerChild 2000
ThreadsPerChild 32
ListenBackLog 511
ServerName pandaserver.cern.ch
TypesConfig /etc/mime.types
WSGIPythonHome /opt/panda
WSGIDaemonProcess pandasrv_daemon processes={workers} threads=1 home=/data/atlpan
WSGIProcessGroup pandasrv_daemon
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAliasMatch ^(/server/panda/.+)|(/api/.+)$ {package}/server/panda.py
WSGISocketPrefix /run/panda_reference/wsgi
WSGIPassAuthorization On
<Directory {package}/server>
    Require all granted
</Directory>
LogLevel info
LogFormat "%t %h \\"%r\\" %>s %b" common
CustomLog /var/log/panda/reference_access_log common
ErrorLog /var/log/panda/reference_error_log
Listen 26080
<VirtualHost *:26080>
</VirtualHost>
Listen 26443
<VirtualHost *:26443>
    SSLProtocol all -SSLv3 -TLSv1 -TLSv1.1
    SSLHonorCipherOrder on
    SSLEngine on
    SSLCertificateFile /etc/grid-security/hostcert.pem
    SSLCertificateKeyFile /etc/panda/reference.key
    SSLCertificateChainFile /etc/grid-security/chain.pem
    SSLCACertificateFile /etc/grid-security/chain.pem
    SSLVerifyClient optional
    SSLVerifyDepth 10
    SSLOptions +ExportCertData +StdEnvVars +LegacyDNStringFormat
</VirtualHost>
"""
MODULES = ("mpm_event", "authn_core", "authz_core", "authz_host", "alias", "env", "mime", "socache_shmcb", "ssl")

# On the node: for each unit its processes' PSS in MB and processor time in seconds.
LOOK = """
import glob, json, os, sys
found = {}
for folder in glob.glob('/proc/[0-9]*'):
    try:
        groups = open(folder + '/cgroup').read()
        unit = next((unit for unit in sys.argv[1:] if '/' + unit in groups), None)
        if unit is None:
            continue
        pss = next(int(line.split()[1]) for line in open(folder + '/smaps_rollup') if line.startswith('Pss:'))
        stat = open(folder + '/stat').read().rpartition(')')[2].split()
    except (OSError, StopIteration):
        continue
    entry = found.setdefault(unit, {'pss': 0, 'cpu': 0, 'processes': 0})
    entry['pss'] += pss / 1024
    entry['cpu'] += sum(map(int, stat[11:15])) / os.sysconf('SC_CLK_TCK')
    entry['processes'] += 1
print(json.dumps(found))
"""


class Node:
    """The node, over ssh."""

    def __init__(self, address: str) -> None:
        self.address = address

    def run(self, command: str, stdin: bytes | None = None) -> str:
        done = subprocess.run(
            ["ssh", "-F", str(SSH_CONFIG), self.address, command], input=stdin, capture_output=True, check=False
        )
        if done.returncode:
            sys.exit(f"{command[:80]}: {done.stderr.decode().strip()[-1500:]}")
        return done.stdout.decode()

    def look(self, units: tuple[str, ...]) -> dict[str, float]:
        """Sum over the units of one side."""
        said = json.loads(self.run(f'python3 -c "{LOOK}" {" ".join(units)}'))
        return {key: sum(entry[key] for entry in said.values()) for key in ("pss", "cpu", "processes")}


def mod_wsgi_source(folder: Path) -> bytes:
    """The source of mod_wsgi, checked against the index's hash."""
    (folder / "in.txt").write_text(MOD_WSGI + "\n")
    known = folder / "pylock.toml"
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--no-deps"]
    subprocess.run([*uv, f"--output-file={known}", str(folder / "in.txt")], check=True)
    (package,) = tomllib.loads(known.read_text())["packages"]
    with urllib.request.urlopen(package["sdist"]["url"], timeout=60) as answer:
        content: bytes = answer.read()
    if hashlib.sha256(content).hexdigest() != package["sdist"]["hashes"]["sha256"]:
        sys.exit("mod_wsgi: the source does not have the hash that the index states")
    return content


def provision(network: str, prefix: str) -> Node:
    """A node by site.yml, its database beside it with the scenario's schema."""
    address, database = f"{prefix}.9", f"{prefix}.20"
    tool = [sys.executable, str(ROOT / "tools" / "node.py")]
    subprocess.run([*tool, "boot", network, "atlas-pandaserver-09", "debian12", address], check=True)
    subprocess.run([*tool, "database", network, "atlas-pandadb-01", database], check=True)
    psql = ["docker", "exec", "--interactive", f"--env=PGPASSWORD={PASSWORD}", f"{network}.atlas-pandadb-01", "psql",
            "--quiet", f"--host={database}", "--username=panda", "--dbname=panda"]  # fmt: skip
    schema = (ROOT / "molecule" / "panda_server" / "schema.sql").read_bytes()
    subprocess.run(psql, input=schema, check=True, capture_output=True)
    variables: dict[str, Any] = {
        "ansible_ssh_common_args": f"-F {SSH_CONFIG}",
        "ansible_python_interpreter": "/usr/bin/python3",
        "panda_server_payload": "panda-server",
        "panda_server_backend": "postgres",
        "panda_server_dbhost": database,
        "panda_server_dbuser": "panda",
        "panda_server_dbpasswd": PASSWORD,
        "panda_server_dbname": "panda",
        "panda_server_certificate_source": "demo_ca",
        "panda_server_demo_ca": str(ROOT / ".cache" / "demo"),
        "panda_server_num_wsgi": WORKERS,
        "panda_server_daemon_jobs": {},
        "panda_server_verify_timeout": 300,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yml", dir=ROOT / ".cache") as inventory:
        hosts = {"atlas-pandaserver-09": {"ansible_host": address, **variables}}
        yaml.safe_dump({"panda_servers": {"hosts": hosts}}, inventory)
        inventory.flush()
        play = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", inventory.name, str(ROOT / "site.yml")]
        done = subprocess.run(play, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode:
            sys.exit(done.stdout[-3000:] + done.stderr[-1000:])
    return Node(address)


def set_up_reference(node: Node) -> None:
    """Apache + mod_wsgi on ports of its own, as the package's documentation has it."""
    node.run(
        "export DEBIAN_FRONTEND=noninteractive; apt-get update -q >/dev/null; "
        "apt-get install -q -y --no-install-recommends apache2-dev gcc libc6-dev python3.11-dev python3-pip "
        "python3-setuptools python3-wheel >/dev/null 2>&1"
    )
    with tempfile.TemporaryDirectory() as folder:
        node.run("cat > /var/tmp/mod_wsgi.tar.gz", mod_wsgi_source(Path(folder)))
    node.run(
        "test -d /opt/reference || python3.11 -m pip install --quiet --no-build-isolation --no-index --no-deps "
        "--root-user-action=ignore --target /opt/reference /var/tmp/mod_wsgi.tar.gz"
    )
    configuration = CONFIGURATION.format(
        modules="\n".join(
            f"<IfModule !{name}_module>\nLoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n</IfModule>"
            for name in MODULES
        ),
        mod_wsgi=node.run("ls /opt/reference/mod_wsgi/server/mod_wsgi*.so").strip(),
        package=node.run("echo /opt/panda/lib/python3.11/site-packages/pandaserver").strip(),
        workers=WORKERS,
    )
    node.run("cat > /etc/panda/reference.conf", configuration.encode())
    # It starts as the account, as the package's unit has it, so it has to read the key by itself.
    node.run("install -o atlpan -g zp -m 0400 /etc/grid-security/hostkey.pem /etc/panda/reference.key")
    node.run(
        "systemctl stop panda_reference 2>/dev/null; systemctl reset-failed panda_reference 2>/dev/null; "
        "systemd-run --quiet --unit=panda_reference --property=User=atlpan --property=KillMode=mixed "
        "--property=RuntimeDirectory=panda_reference --property=EnvironmentFile=/etc/sysconfig/panda_server_env "
        "--property=EnvironmentFile=/etc/panda/panda_server_secrets.env --property=LimitNOFILE=65536 "
        "/usr/sbin/apache2 -f /etc/panda/reference.conf -k start -D FOREGROUND"
    )
    node.run(f"firewall-cmd --quiet {' '.join(f'--add-port={port}/tcp' for port in PORTS[REFERENCE])}")
    url = f"http://{node.address}:{PORTS[REFERENCE][0]}{PATH}"
    deadline = time.monotonic() + 120
    while not answers(url):
        if time.monotonic() > deadline:
            sys.exit("the reference does not answer:\n" + node.run("tail -5 /var/log/panda/reference_error_log"))
        time.sleep(0.5)


def answers(url: str) -> bool:
    """Whether the application says that it is alive."""
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bool(json.load(answer)["success"])
    except OSError:
        return False


def wrk(url: str, seconds: int, connections: int) -> tuple[float, int, str, str]:
    """Requests per second, their number, the 99th percentile, and errors."""
    command = [
        "wrk",
        "--threads=2",
        f"--connections={connections}",
        f"--duration={seconds}s",
        "--latency",
        "--timeout=30s",
    ]
    output = subprocess.run(
        [*command, "--header=Accept: application/json", url], capture_output=True, text=True, check=True
    ).stdout
    rate, number = re.search(r"Requests/sec: +([\d.]+)", output), re.search(r"(\d+) requests in", output)
    late, errors = re.search(r"99% +(\S+)", output), re.search(r"(Non-2xx.*|Socket errors.*)", output)
    if rate is None or number is None or late is None:
        sys.exit(f"wrk said something else than expected:\n{output}")
    return float(rate[1]), int(number[1]), late[1], errors[1] if errors else "none"


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--network", default="panda-bench-payload")
    parser.add_argument("--prefix", default="172.30.36", help="first three numbers of the network's addresses")
    parser.add_argument("--keep", action="store_true", help="leave the node when done")
    options = parser.parse_args()
    node = provision(options.network, options.prefix)
    set_up_reference(node)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {WORKERS} application processes each; ", end="")
    print(f"{options.connections} connections, {options.seconds} s a turn, {options.rounds} turns each; medians")
    rows: dict[tuple[str, str], list[tuple[float, float, str, str]]] = {}
    for _ in range(options.rounds):
        for side in (OURS, REFERENCE):
            for place, scheme in enumerate(("http", "https")):
                before = node.look(UNITS[side])["cpu"]
                url = f"{scheme}://{options.prefix}.9:{PORTS[side][place]}{PATH}"
                rate, number, late, errors = wrk(url, options.seconds, options.connections)
                cost = 1000 * (node.look(UNITS[side])["cpu"] - before) / number
                rows.setdefault((side, scheme), []).append((rate, cost, late, errors))
    print(f"{'':24}{'':7}{'req/s':>8}{'ms CPU a request':>18}  errors")
    for (side, scheme), turns in rows.items():
        rate, cost = statistics.median(turn[0] for turn in turns), statistics.median(turn[1] for turn in turns)
        errors = ", ".join(sorted({turn[3] for turn in turns}))
        print(f"{side:24}{scheme:7}{rate:8.0f}{cost:18.3f}  {errors}")
    for side in (OURS, REFERENCE):
        memory = node.look(UNITS[side])
        print(f"{side:24}{memory['pss']:7.0f} MB PSS in {memory['processes']:.0f} processes")
    print(f"load {os.getloadavg()[0]:.1f} after")
    if not options.keep:
        subprocess.run([sys.executable, str(ROOT / "tools" / "node.py"), "remove", options.network], check=True)


if __name__ == "__main__":
    main()
