"""Check that the code which runs on a node runs on the oldest Python a node may have.

That is 3.9, the platform Python of EL9, which Ansible runs modules with.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 9)
NODE_SIDE = ("plugins/modules", "plugins/module_utils")


def node_side_files(root: Path) -> list[Path]:
    """Return the files that Ansible sends to a node; none at all is an error."""
    files = sorted(path for directory in NODE_SIDE for path in (root / directory).rglob("*.py"))
    if not files:
        raise SystemExit(f"node python: no file found in {' or '.join(NODE_SIDE)} of {root}")
    return files


def syntax_faults(files: list[Path]) -> list[str]:
    """Return what the grammar of the oldest Python does not know."""
    faults = []
    for path in files:
        try:
            ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=OLDEST)
        except SyntaxError as error:
            faults.append(f"{path}:{error.lineno}: not Python {'.'.join(map(str, OLDEST))}: {error.msg}")
    return faults


def library_faults(files: list[Path]) -> list[str]:
    """Return what vermin says of features and library calls newer than the oldest Python."""
    vermin = Path(sys.executable).with_name("vermin")
    target = ".".join(map(str, OLDEST))
    command = [str(vermin), f"--target={target}-", "--violations", "--no-tips", *map(str, files)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return [] if result.returncode == 0 else [result.stdout.strip() + result.stderr.strip()]


def oldest_interpreter() -> str | None:
    """Return a real interpreter of the oldest version, if this machine has one that runs."""
    version = ".".join(map(str, OLDEST))
    homes = [Path("/usr/bin"), *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin"))]
    for found in (shutil.which(f"python{version}"), *(str(home / f"python{version}") for home in homes)):
        if found and Path(found).exists() and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
            return found
    return None


def compile_faults(interpreter: str, files: list[Path]) -> list[str]:
    """Return what a real interpreter of the oldest version says when it compiles the files."""
    program = "import sys\nfor name in sys.argv[1:]: compile(open(name, 'rb').read(), name, 'exec')"
    result = subprocess.run([interpreter, "-c", program, *files], capture_output=True, text=True, check=False)
    return [] if result.returncode == 0 else [result.stderr.strip()]


def main() -> int:
    """Run every check over all files and say with what they were made."""
    files = node_side_files(ROOT)
    faults = syntax_faults(files) + library_faults(files)
    interpreter = oldest_interpreter()
    if interpreter:
        faults += compile_faults(interpreter, files)
    for fault in faults:
        print(fault, file=sys.stderr)
    compiler = interpreter or "grammar and vermin only, this machine has no such interpreter"
    print(f"node python {'.'.join(map(str, OLDEST))}: {len(files)} files, {len(faults)} faults ({compiler})")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
