"""roles/panda_server/tasks/certificates.yml, the real one: httpd reads a certificate that it has not read yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import enter_role

SYSTEMCTL = """#!/bin/sh
case "$*" in
    *show*) printf 'LoadState=loaded\\nActiveState=active\\n' ;;
    *) echo "$*" >>{said} ;;
esac
"""
CERTIFICATE = "/etc/grid-security/hostcert.pem"
RENEWED = f"port 25443 serves another certificate than {CERTIFICATE} holds: reload the service"


@pytest.mark.parametrize(("seen", "said"), [(RENEWED, "reload panda_httpd.service\n"), ("", "")])
def test_a_certificate_that_the_site_has_renewed_on_the_node_is_read_by_the_next_run(
    tmp_path: Path, seen: str, said: str
) -> None:
    (tmp_path / "said").touch()
    (tmp_path / "systemctl").write_text(SYSTEMCTL.format(said=tmp_path / "said"))
    (tmp_path / "systemctl").chmod(0o755)
    instead = {
        "panda_server_certificate_source": "node",
        "panda_preflight": {"node": {"served": {CERTIFICATE: seen}, "units": {"panda.service": {"active": "active"}}}},
    }
    done = enter_role("certificates.yml", tmp_path, instead)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "said").read_text() == said
    assert (RENEWED in done.stdout) == bool(said)
