"""The render fixture gives templates what they get on a node."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleError

from .conftest import Renderer


@pytest.fixture
def renderer(tmp_path: Path) -> Renderer:
    role = tmp_path / "roles" / "web"
    for directory in ("defaults", "templates", "vars"):
        (role / directory).mkdir(parents=True)
    (role / "defaults" / "main.yml").write_text(
        'web_name: "{{ ansible_facts[\'fqdn\'] }}"\nweb_url: "http://{{ web_name }}:{{ web_port }}"\nweb_port: 80\n'
    )
    (role / "vars" / "redhat.yml").write_text("__web_package: httpd\n")
    (role / "vars" / "debian.yml").write_text("__web_package: apache2\n")
    (role / "templates" / "web.j2").write_text(
        "{% if true %}\n{{ web_url }} {{ __web_package | upper }}\n{% endif %}\n{{ ansible_managed | default('') }}"
    )
    return Renderer(tmp_path)


def test_defaults_that_name_other_variables_and_facts_are_resolved(renderer: Renderer) -> None:
    assert renderer("web", "web.j2").startswith("http://atlas-pandaserver-09.example.org:80 HTTPD\n")


def test_the_os_family_and_variables_are_chosen_by_the_test(renderer: Renderer) -> None:
    assert renderer("web", "web.j2", os_family="Debian", web_name="x").startswith("http://x:80 APACHE2\n")


def test_an_overriding_value_may_be_an_expression(renderer: Renderer) -> None:
    assert renderer("web", "{{ web_url }}", web_name="{{ web_port + 1 }}") == "http://81:80"


def test_an_undefined_variable_is_an_error(renderer: Renderer) -> None:
    with pytest.raises(AnsibleError, match="web_absent"):
        renderer("web", "{{ web_absent }}")
