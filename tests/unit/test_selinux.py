"""What the roles say to SELinux, as far as it can be told without a kernel that has it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import role_docs
import yaml

from .conftest import Render
from .test_roles import mappings

# The paths that EL9's policy takes for others (file_contexts.subs_dist): semanage refuses them, and a label that a
# module gives to one is never found.
ALIASES = (
    "/run", "/lib", "/lib64", "/usr/lib64", "/usr/local/lib64", "/usr/local/lib32", "/etc/systemd/system", "/sbin",
    "/var/lib/xguest/home", "/var/named/chroot/var", "/home-inst", "/home/home-inst", "/var/roothome", "/sysroot/tmp",
    "/var/usrlocal", "/var/mnt",
)  # fmt: skip

# What the module refers to, declared as in the policy of EL9.
STUB = """
(class unix_stream_socket (connectto)) (classorder (unix_stream_socket))
(sid kernel) (sidorder (kernel)) (mls true)
(sensitivity s0) (sensitivityorder (s0)) (category c0) (categoryorder (c0)) (sensitivitycategory s0 (c0))
(user system_u) (role system_r) (role object_r) (userrole system_u system_r) (userrole system_u object_r)
(userlevel system_u (s0)) (userrange system_u ((s0) (s0 (c0)))) (type kernel_t) (roletype system_r kernel_t)
(sidcontext kernel (system_u system_r kernel_t ((s0) (s0)))) (allow kernel_t kernel_t (unix_stream_socket (connectto)))
"""
DOMAINS = ("httpd_t", "unconfined_service_t")
FILES = ("bin_t", "httpd_log_t", "httpd_sys_content_t", "httpd_var_run_t")


def labels(policy: str) -> dict[str, str]:
    """The type of each path in the text of a module."""
    return dict(re.findall(r'\(filecon "([^"]+)" any \(system_u object_r (\w+) \(\(s0\) \(s0\)\)\)\)', policy))


def label_of(policy: str, path: str) -> str:
    """The type that a path has: that of the longest pattern it matches."""
    return max((len(pattern), kind) for pattern, kind in labels(policy).items() if re.fullmatch(pattern, path))[1]


@pytest.fixture
def policy(render: Render) -> str:
    return str(render("panda_server", "panda_node.cil.j2"))


def test_no_label_is_given_to_a_path_that_the_policy_takes_for_another(render: Render, policy: str) -> None:
    targets = list(labels(policy))
    for role in role_docs.find_roles(role_docs.ROLES):
        for path in (role / "tasks").glob("*.yml"):
            for task in mappings(yaml.safe_load(path.read_text())):
                if "community.general.sefcontext" in task:
                    targets.append(render(role.name, f"{{{{ '' }}}}{task['community.general.sefcontext']['target']}"))
    assert len(targets) > len(labels(policy)) > 5
    wrong = [target for target in targets if any(target.startswith(f"{alias}/") for alias in ALIASES)]
    assert wrong == []


def test_every_path_that_httpd_writes_serves_or_connects_to_has_a_label(policy: str) -> None:
    for path, kind in {
        "/var/log/panda/panda_server_access_log": "httpd_log_t",
        "/var/log/panda/pandacache": "httpd_sys_content_t",
        "/var/log/panda/pandacache/pilot/a": "httpd_sys_content_t",
        "/var/cache/pandaserver/schedconfig/a.json": "httpd_sys_content_t",
        "/etc/panda/auth/a_auth_config.json": "httpd_sys_content_t",
        "/etc/panda/answers/isAlive": "httpd_sys_content_t",
        "/var/run/panda/wsgi.sock": "httpd_var_run_t",
        "/var/run/panda_httpd/reloading": "httpd_var_run_t",
        "/opt/panda.releases/1.0-0a1b2c3d4e/bin/gunicorn": "bin_t",
    }.items():
        assert label_of(policy, path) == kind, path


def test_every_folder_that_httpd_serves_has_a_label(render: Render, policy: str) -> None:
    for static in render("panda_server", "{{ __panda_server_static }}"):
        assert label_of(policy, f"{static['folder']}a") == "httpd_sys_content_t", static


def test_a_path_of_the_sites_own_is_no_pattern(render: Render) -> None:
    policy = render("panda_server", "panda_node.cil.j2", panda_server_logdir="/data/c++.log")
    assert label_of(policy, "/data/c++.log/panda_server_error_log") == "httpd_log_t"


def test_httpd_of_a_node_without_the_application_may_connect_to_nothing(render: Render, policy: str) -> None:
    assert policy.count("(allow ") == 1
    assert "(allow " not in render("panda_server", "panda_node.cil.j2", panda_server_cache_only=True)


@pytest.mark.parametrize("cache_only", [False, True])
def test_the_module_compiles(render: Render, tmp_path: Path, cache_only: bool) -> None:
    """Against a policy of what it refers to. EL9's own is not at hand: see docs/verification.md."""
    types = [f"(type {name}) (roletype system_r {name})" for name in DOMAINS]
    types += [f"(type {name}) (roletype object_r {name})" for name in FILES]
    (tmp_path / "stub.cil").write_text(STUB + "\n".join(types))
    module = render("panda_server", "panda_node.cil.j2", panda_server_cache_only=cache_only)
    (tmp_path / "panda_node.cil").write_text(module)
    done = subprocess.run(
        ["secilc", "--mls", "true", "--output", "policy", "--filecontext", "contexts", "stub.cil", "panda_node.cil"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len((tmp_path / "contexts").read_text().splitlines()) == len(labels(module))


def test_squid_may_listen_on_both_of_its_ports(render: Render) -> None:
    """squid_connect_any is about TCP."""
    tasks = yaml.safe_load((role_docs.ROLES / "squid" / "tasks" / "selinux.yml").read_text())
    (task,) = [task for task in tasks if "community.general.seport" in task]
    loop = [{key: render("squid", f"{{{{ '' }}}}{value}") for key, value in item.items()} for item in task["loop"]]
    assert loop == [{"port": "25085", "proto": "tcp"}, {"port": "3130", "proto": "udp"}]
