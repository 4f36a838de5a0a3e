"""tools/node.py finds nothing to remove on a machine that has never had a container engine."""

from __future__ import annotations

from pathlib import Path

import node
import pytest


def test_without_an_engine_there_is_nothing_to_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert node.remove("panda-default") == []
