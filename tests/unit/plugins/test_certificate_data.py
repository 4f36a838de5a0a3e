"""Filter `panda.provision.certificate_data`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.panda.provision.plugins.filter.certificate_data import certificate_data

from .conftest import MakePair


def test_it_says_what_other_teams_ask_for(make_pair: MakePair) -> None:
    found = certificate_data(make_pair("pandaserver.cern.ch").certificate)
    assert "pandaserver.cern.ch" in found["subject"]
    assert found["names"] == ["pandaserver.cern.ch"]
    assert found["until"] == f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%d}"


def test_a_text_that_is_no_certificate_is_an_error() -> None:
    with pytest.raises(AnsibleFilterError, match="not a certificate"):
        certificate_data("-----BEGIN NOTHING-----")
