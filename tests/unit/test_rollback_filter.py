"""The filter rollback_release finds the one release that a whole fleet goes back to, or says why there is none."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.panda.provision.plugins.filter.rollback import rollback_release


def node(current: str, *good: str, bad: str = "", rolled_back: str = "", installed: str = "A B C") -> dict[str, Any]:
    record: dict[str, Any] = {"good": list(good), "last_good": good[-1] if good else None}
    record["bad"] = {bad: "it lost jobs"} if bad else {}
    if rolled_back:
        record["rolled_back"] = {"from": rolled_back, "to": current}
    return {"current": current, "record": record, "installed": installed.split()}


def test_a_fleet_goes_back_to_the_release_that_was_good_before() -> None:
    assert rollback_release({"n1": node("C", "A", "B", "C"), "n2": node("C", "A", "B", "C")}) == "B"


def test_a_release_that_never_passed_its_gate_is_left_for_the_last_good_one() -> None:
    assert rollback_release({"n1": node("C", "A", "B")}) == "B"


def test_a_bad_release_is_never_chosen() -> None:
    assert rollback_release({"n1": node("C", "A", "B", "C", bad="B")}) == "A"


def test_a_release_that_was_removed_is_not_chosen() -> None:
    assert rollback_release({"n1": node("C", "A", "B", "C", installed="A C")}) == "A"


def test_a_fleet_that_has_gone_back_stays_there() -> None:
    assert rollback_release({"n1": node("B", "A", "C", "B", rolled_back="C")}) == "B"


def test_an_interrupted_rollback_goes_on() -> None:
    nodes = {"n1": node("B", "A", "C", "B", rolled_back="C"), "n2": node("C", "A", "B", "C")}
    assert rollback_release(nodes) == "B"


def test_an_interrupted_first_upgrade_is_taken_back_where_it_was_done() -> None:
    assert rollback_release({"n1": node("B", "A", "B"), "n2": node("A", "A")}) == "A"


def test_nodes_that_would_part_ways_are_refused_with_what_each_would_do() -> None:
    with pytest.raises(AnsibleFilterError, match=r"n2 on B would go to A.*release=NAME"):
        rollback_release({"n1": node("C", "A", "B", "C"), "n2": node("B", "A", "B")})


def test_a_node_with_nothing_to_go_back_to_is_named() -> None:
    with pytest.raises(AnsibleFilterError, match="n1: no release but A ever passed its gate"):
        rollback_release({"n1": node("A", "A")})


def test_a_named_release_is_taken() -> None:
    assert rollback_release({"n1": node("C", "A", "B", "C"), "n2": node("B", "A", "B")}, "A") == "A"


def test_a_named_release_that_is_bad_or_absent_is_refused_for_every_node_at_once() -> None:
    nodes = {"n1": node("C", "A", bad="B"), "n2": node("C", "A", installed="A C")}
    with pytest.raises(AnsibleFilterError, match="n1: B failed its gate there: it lost jobs; n2: has no release B"):
        rollback_release(nodes, "B")
