"""What preflight sees of a node and of the control machine, and what it makes of the packages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.panda.provision.plugins.action import preflight

from .conftest import MakePair, RunModule, own_name
from .preflight_nodes import SERVICE


def test_the_module_sees_the_node_as_it_is(
    run_module: RunModule, make_pair: MakePair, tmp_path: Path, taken_port: int, closed_port: int
) -> None:
    one, other = make_pair(SERVICE), make_pair(SERVICE)
    texts = {"cert": one.certificate, "key": one.key, "other": other.key, "locked": one.protected_key(), "r.json": "{"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "link").symlink_to("nowhere")
    here = {name: f"{tmp_path}/{name}" for name in (*texts, "link", "none")}
    # A certificate answers once, so each key is tried with a link to it.
    for name in ("key", "other", "locked", "none"):
        (tmp_path / f"cert-{name}").symlink_to("cert")
    look = {
        "paths": [*here.values(), str(tmp_path)],
        "texts": [f"{tmp_path}/ce*"],
        "globs": [f"{tmp_path}/l*"],
        "connect": [f"127.0.0.1:{taken_port}", f"127.0.0.1:{closed_port}", "no.such.host.invalid:1"],
        "key_pairs": [[f"{tmp_path}/cert-{name}", here[name]] for name in ("key", "other", "locked", "none")],
        "records": [here["r.json"], here["none"]],
        "packages": ["bash", "no-such-package"],
    }
    answer = run_module("preflight", {"roles": ["panda_server"], "look": look}, check=True)
    assert not answer["changed"]
    node = answer["node"]
    assert {"pid": os.getpid(), "process": own_name(), "protocol": "tcp", "port": taken_port}.items() <= next(
        listener for listener in node["listeners"] if listener["port"] == taken_port
    ).items()
    kinds = {path.removeprefix(f"{tmp_path}/"): kind for path, kind in node["paths"].items()}
    assert (kinds["cert"], kinds["link"], kinds["none"], node["paths"][str(tmp_path)]) == (
        "file",
        "link",
        "",
        "directory",
    )
    assert node["links"] == {here["link"]: "nowhere"}
    assert node["texts"][here["cert"]] == one.certificate
    assert here["key"] not in node["texts"]
    assert node["globs"] == {f"{tmp_path}/l*": [here["link"], here["locked"]]}
    assert list(node["connections"].values())[:2] == ["", "Connection refused"]
    assert node["connections"]["no.such.host.invalid:1"]
    assert list(node["key_pairs"].values()) == [
        "",
        "it belongs to another certificate",
        "one of the two is not in PEM form, or the key has a passphrase",
        "No such file or directory",
    ]
    assert node["packages"] == ["bash"]
    assert node["records"] == {here["r.json"]: None, here["none"]: None}


def test_variables_that_lie_where_nothing_reads_them_are_named_with_the_place_for_them(tmp_path: Path) -> None:
    elsewhere = [str(tmp_path / "inventory"), str(tmp_path / "playbooks")]
    for folder in elsewhere:
        Path(folder).mkdir()
    assert preflight.unread(tmp_path, elsewhere) == []
    (tmp_path / "host_vars").mkdir()
    (fault,) = preflight.unread(tmp_path, elsewhere)
    assert fault.startswith(f"{tmp_path}/host_vars: nothing reads it")
    assert fault.endswith("move it to inventories/production/host_vars")
    for beside in (tmp_path / "hosts.yml", tmp_path):
        assert preflight.unread(tmp_path, [*elsewhere, str(beside)]) == []


def test_the_module_tells_who_owns_a_path(run_module: RunModule, tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir(mode=0o750)
    # The link itself: what it points to may be anybody's.
    link.symlink_to("/etc")
    os.chown(link, 12345, 54321, follow_symlinks=False) if os.getuid() == 0 else None
    paths = [str(folder), str(link), str(tmp_path / "none")]
    owners = run_module("preflight", {"roles": [], "look": {"owners": paths}})["node"]["owners"]
    assert owners[str(folder)].endswith(" 0750")
    assert owners[str(tmp_path / "none")] == ""
    if os.getuid() == 0:
        assert owners[str(folder)] == "root:root 0750"
        assert owners[str(link)] == "12345:54321 0777"


@pytest.mark.parametrize(
    ("family", "status", "needed"),
    [
        ("RedHat", "enabled", ["firewalld", "policycoreutils-python-utils", "squid"]),
        ("RedHat", "disabled", ["firewalld", "squid"]),
        ("Debian", "enabled", ["apache2", "firewalld"]),
    ],
)
def test_under_selinux_on_el_what_its_modules_need_is_installed_with_the_rest(
    family: str, status: str, needed: list[str]
) -> None:
    packages = {"RedHat": ["httpd", "squid"], "Debian": ["apache2"], "SELinux": ["policycoreutils-python-utils"]}
    facts = {"os_family": family, "selinux": {"status": status}}
    seen = {"ansible_facts": facts, "node": {"packages": ["httpd"]}}
    assert preflight.missing(packages, ["firewalld"], seen) == needed
