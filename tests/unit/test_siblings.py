"""Filters `panda.provision.siblings` and `with_addresses`."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.panda.provision.plugins.filter.siblings import siblings
from ansible_collections.panda.provision.plugins.plugin_utils import addresses

HOSTVARS = {"n1": {"ansible_host": "192.0.2.1"}, "n2": {"ansible_host": "192.0.2.2"}, "localhost": {}}


def test_siblings_are_the_others_in_the_order_of_the_group() -> None:
    assert siblings(["n2", "localhost", "n1"], HOSTVARS, "n1") == [
        {"name": "n2", "addresses": ["192.0.2.2"]},
        {"name": "localhost", "addresses": addresses.resolve("localhost")},
    ]


def test_hosts_come_with_their_addresses_in_the_order_given() -> None:
    assert addresses.with_addresses(["n2", "n1"], HOSTVARS) == [
        {"name": "n2", "addresses": ["192.0.2.2"]},
        {"name": "n1", "addresses": ["192.0.2.1"]},
    ]


def test_a_host_outside_the_group_has_none() -> None:
    assert siblings(["n2"], HOSTVARS, "n1") == []


def test_a_name_without_an_address_is_an_error_that_names_it() -> None:
    with pytest.raises(AnsibleFilterError, match=r"n2: .*'nowhere\.invalid'"):
        siblings(["n1", "n2"], {"n1": {}, "n2": {"ansible_host": "nowhere.invalid"}}, "n1")


def test_addresses_come_in_an_order_that_does_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [(0, 0, 0, "", (address, 0)) for address in ("2001:db8::1", "192.0.2.9", "192.0.2.1", "192.0.2.9")]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: answer)
    assert addresses.resolve("name") == ["192.0.2.1", "192.0.2.9", "2001:db8::1"]
