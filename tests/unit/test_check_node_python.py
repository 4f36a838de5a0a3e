"""tools/check_node_python.py refuses node-side code that Python 3.9 does not run."""

from __future__ import annotations

from pathlib import Path

import check_node_python
import pytest


def test_new_syntax_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "new.py"
    file.write_text("match 1:\n    case 1: pass\n")
    (fault,) = check_node_python.syntax_faults([file])
    assert f"{file}:2: not Python 3.9" in fault


def test_a_newer_library_call_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "new.py"
    file.write_text("import itertools\nprint(itertools.pairwise([1, 2]))\n")
    assert check_node_python.syntax_faults([file]) == []
    assert "pairwise" in check_node_python.library_faults([file])[0]


def test_old_code_has_no_fault(tmp_path: Path) -> None:
    file = tmp_path / "old.py"
    file.write_text("from __future__ import annotations\ndef f(x: int | None) -> None:\n    print(x)\n")
    assert check_node_python.syntax_faults([file]) + check_node_python.library_faults([file]) == []


def test_finding_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no file found"):
        check_node_python.node_side_files(tmp_path)
