"""What provisioning would change on a node that was set up by other means, from its own files."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.panda.provision.plugins.filter.configuration_differences import configuration_differences
from ansible_collections.panda.provision.plugins.filter.configuration_places import configuration_places
from ansible_collections.panda.provision.plugins.plugin_utils import adoption

from .conftest import ROOT, Render

PREFIX, HOME = "/opt/panda", "/data/atlpan"
SERVER, OVERLAY = "/etc/panda/panda_server.cfg", f"{HOME}/etc/config_json/panda_server_config.json"
ENVIRONMENT = "PANDA_HOME=/data/atlpan\nHOME=/home/atlpan\n"


def differ(
    texts: dict[str, str],
    files: dict[str, str],
    overlay: dict[str, Any] | None = None,
    environment: dict[str, Any] | None = None,
) -> list[str]:
    """Without the lines of an environment that is not given."""
    then = {"files": files, "overlay": json.dumps(overlay or {}), "environment": environment or {}, "secrets": ["KEY"]}
    found = adoption.differences(adoption.Found(texts, PREFIX, HOME), then)
    return found if environment is not None else [line for line in found if not line.startswith(("env", "[env"))]


def test_the_package_is_read_as_it_reads_itself() -> None:
    texts = {
        adoption.SYSTEMD: ENVIRONMENT,
        SERVER: "[server]\na = 1\nb = 1\nc = 1\nd = 1\n",
        "/home/atlpan/etc/panda/panda_server.cfg": "[server]\nb = 2\nc = 2\nd = 2\n",
        f"{HOME}/etc/panda/panda_server.cfg": "[server]\nc = 3\nd = 3\n",
        OVERLAY: json.dumps({"server": {"d": "4"}, "other": {"e": "5"}}),
    }
    new = "[server]\na = 1\nb = 2\nc = 3\nd = 4\n"
    assert differ(texts, {"panda_server.cfg": new}) == []
    assert differ(texts, {"panda_server.cfg": new.replace("d = 4", "d = 1")}) == [
        "panda_server.cfg [server] d: is 4, and would be 1"
    ]


def test_what_the_new_overlay_keeps_is_no_difference() -> None:
    texts = {SERVER: "[server]\ncache_dir = /data/cache\n"}
    new = {"panda_server.cfg": "[server]\ncache_dir = /var/log/panda/pandacache\n"}
    assert differ(texts, new, {"server": {"cache_dir": "/data/cache"}}) == []
    assert differ(texts, new) == [
        "panda_server.cfg [server] cache_dir: is /data/cache, and would be /var/log/panda/pandacache"
    ]


def test_json_is_compared_by_its_value() -> None:
    old = '{"add_main": {"enable": true,\n   "period": 240}, "copyArchive": {"enable":false}}'
    new = '{"copyArchive": {"enable": false}, "add_main": {"period": 240, "enable": true}}'
    texts = {SERVER: f"[daemon]\nconfig = {old}\nlist = [1,2]\nodd = [not, JSON\n"}
    same = f"[daemon]\nconfig = {new}\nlist = [1, 2]\nodd = [not, JSON\n"
    assert differ(texts, {"panda_server.cfg": same}) == []
    assert (
        differ({**texts, OVERLAY: json.dumps({"daemon": {"config": json.loads(new)}})}, {"panda_server.cfg": same})
        == []
    )
    (line,) = differ(texts, {"panda_server.cfg": same.replace("240", "24")})
    assert line.startswith("panda_server.cfg [daemon] config: is {")


@pytest.mark.parametrize(
    ("name", "section", "advice"),
    [
        ("panda_server.cfg", "server", "; to keep it, put it into panda_server_config"),
        ("panda_server.cfg", "daemon", "; to keep it, put it into panda_server_overlay"),
        ("panda_jedi.cfg", "jobgen", "; to keep it, put it into panda_server_jedi_config"),
        ("panda_common.cfg", "logger", ""),
    ],
)
def test_each_file_is_compared_and_what_would_be_gone_is_told_with_what_keeps_it(
    name: str, section: str, advice: str
) -> None:
    texts = {f"/etc/panda/{name}": f"[{section}]\nx = 1\n"}
    assert differ(texts, {name: ""}) == [f"{name} [{section}] x: is 1, and would be gone{advice}"]


def test_the_environment_is_compared_without_what_the_file_of_secrets_keeps() -> None:
    text = "PANDA_SERVER_CONF_NUM_WSGI=32\nexport TZ=\"UTC\"\n# NO=1\nKEY=hidden\nSITE='a b'\nPANDA_HOME=/data/atlpan\n"
    then = {"PANDA_SERVER_CONF_NUM_WSGI": 12, "TZ": "UTC", "PANDA_HOME": HOME, "DB_PASSWORD": "hidden"}
    assert differ({adoption.SYSTEMD: text}, {}, environment=then) == [
        "[environment] DB_PASSWORD: is not set, and would be (not shown)",
        "[environment] PANDA_SERVER_CONF_NUM_WSGI: is 32, and would be 12",
        "[environment] SITE: is a b, and would be gone; to keep it, put it into panda_server_environment",
    ]


def test_the_sysv_scripts_have_the_virtual_environment_as_their_home() -> None:
    script = (
        'if [[ -n "${VIRTUAL_ENV}" ]]; then\n  export PANDA_HOME=${VIRTUAL_ENV}\nelse\n'
        "  export PANDA_HOME=/data/atlpan\nfi\nexport HOME=~atlpan\nexport PANDA_SERVER_CONF_NUM_WSGI=32\n"
    )
    texts = {adoption.SYSV: script, f"{PREFIX}/etc/panda/panda_server.cfg": "[server]\na = 1\n"}
    assert differ(texts, {"panda_server.cfg": "[server]\na = 1\n"}) == []
    found = adoption.Found(texts, PREFIX, HOME)
    assert found.overlay == f"{PREFIX}/etc/config_json/panda_server_config.json"
    assert found.environment["PANDA_SERVER_CONF_NUM_WSGI"] == "32"
    both = adoption.Found({**texts, adoption.SYSTEMD: ENVIRONMENT}, PREFIX, HOME)
    assert both.environment == {"PANDA_HOME": HOME, "HOME": "/home/atlpan"}


def test_what_is_not_there_is_said_once() -> None:
    folders = f"/etc/panda, /usr/etc/panda, {HOME}/etc/panda, {HOME}/usr/etc/panda"
    assert differ({}, {"panda_server.cfg": "[server]\na = 1\n"}, environment={"TZ": "UTC"}) == [
        f"panda_server.cfg: there is none in {folders}: nothing to compare with",
        f"environment: there is no {adoption.SYSTEMD} and no {adoption.SYSV}: nothing to compare with",
    ]


def test_the_filters_take_what_slurp_answers() -> None:
    def slurped(path: str, text: str) -> dict[str, str]:
        return {"item": path, "content": base64.b64encode(text.encode()).decode(), "encoding": "base64"}

    results: list[dict[str, Any]] = [
        slurped(adoption.SYSTEMD, "PANDA_HOME=/srv\n"),
        {"item": adoption.SYSV, "msg": "file not found"},
    ]
    assert configuration_places(results, ["panda_server.cfg"], PREFIX, HOME) == [
        SERVER,
        "/usr/etc/panda/panda_server.cfg",
        "/srv/etc/panda/panda_server.cfg",
        "/srv/usr/etc/panda/panda_server.cfg",
        "/srv/etc/config_json/panda_server_config.json",
    ]
    then = {
        "files": {"panda_server.cfg": "[server]\n"},
        "overlay": "{}",
        "environment": {"PANDA_HOME": "/srv"},
        "secrets": [],
    }
    broken = [*results, slurped(SERVER, "[server]\ns3cret\n")]
    with pytest.raises(AnsibleFilterError, match=f"{SERVER} is not a cfg file: line 2 "):
        configuration_differences(broken, then, PREFIX, HOME)
    broken = [*results, slurped("/srv/etc/config_json/panda_server_config.json", "{")]
    with pytest.raises(AnsibleFilterError, match=r"/srv/etc/config_json/panda_server_config\.json is not JSON"):
        configuration_differences(broken, then, PREFIX, HOME)
    sound = [*results, slurped(SERVER, "[server]\na = 1\n")]
    assert configuration_differences(sound, then, PREFIX, HOME) == [
        "panda_server.cfg [server] a: is 1, and would be gone; to keep it, put it into panda_server_config"
    ]


def test_the_role_names_the_units_that_it_would_remove_with_what_keeps_them(render: Render) -> None:
    tasks = yaml.safe_load((ROOT / "roles/panda_server/tasks/adopt.yml").read_text())
    (expression,) = (task["panda.provision.adopt"]["unwanted"] for task in tasks if "panda.provision.adopt" in task)
    optional = {
        "panda_jedi.service": "panda_server_jedi_enabled: true",
        "panda_mcp.service": "panda_server_mcp_enabled: true",
    }
    assert render("panda_server", expression) == optional
    both = {"panda_server_jedi_enabled": True, "panda_server_mcp_enabled": True}
    assert render("panda_server", expression, **both) == {}
    daemon = {"panda_daemon.service": "panda_server_cache_only: false"}
    assert render("panda_server", expression, panda_server_cache_only=True) == {**optional, **daemon}
