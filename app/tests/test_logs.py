"""Logs are renamed under their writers; nothing is lost and nothing is mixed."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from panda_node import log_files
from panda_node.errors import ConfigurationError

NAMES = (log_files.ENTRY, log_files.POOL, log_files.STATEMENTS, log_files.DAEMONS)
WRITER = """
import sys
from pathlib import Path
from panda_node import log_files
names = sys.argv[3].split(",")
log_files.open_logs(Path(sys.argv[1]), "DEBUG", *names)
for number in range(3000):
    text = "x" * (20_000 if number % 97 == 0 else number % 200)
    for name in names:
        log_files.get(name).info("writer %s line %d %s", sys.argv[2], number, text)
"""


def all_lines(directory: Path, name: str) -> list[bytes]:
    return [line for file in directory.glob(f"{name}*") for line in file.read_bytes().splitlines(keepends=True)]


def rotate(file: Path, times: int, busy: Any) -> int:
    done = 0
    while done < times and busy():
        if file.exists():
            file.rename(f"{file}.{done}")
            done += 1
        time.sleep(0.02)
    return done


def test_several_processes_write_all_logs_while_they_are_renamed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, str(number), ",".join(NAMES)]) for number in range(3)]
    rotations: Counter[str] = Counter()
    while any(writer.poll() is None for writer in writers):
        for name in NAMES:
            file = tmp_path / f"panda-{name}.log"
            if file.exists():
                file.rename(f"{file}.{rotations[name]}")
                rotations[name] += 1
        time.sleep(0.03)
    assert all(writer.wait() == 0 for writer in writers)
    for name in NAMES:
        lines = all_lines(tmp_path, f"panda-{name}.log")
        assert rotations[name] >= 5
        assert all(line.endswith(b"\n") for line in lines)
        seen = Counter(tuple(line.split(b"writer ")[1].split()[:3:2]) for line in lines)
        assert len(seen) == sum(seen.values()) == 3 * 3000, name


def test_log_files_are_readable_by_all_and_not_writable(tmp_path: Path) -> None:
    previous = os.umask(0o022)
    try:
        log_files.open_logs(tmp_path, "INFO", *NAMES)
        log_files.get(log_files.ENTRY).info("x")
    finally:
        os.umask(previous)
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()} == {
        f"panda-{name}.log": "0o644" for name in NAMES
    }


def test_the_log_level_of_the_configuration_counts(tmp_path: Path) -> None:
    log_files.open_logs(tmp_path, "WARNING", log_files.ENTRY)
    log_files.get(log_files.ENTRY).info("no")
    log_files.get(log_files.ENTRY).warning("yes")
    assert (tmp_path / "panda-Entry.log").read_text().endswith("WARNING  yes\n")
    assert (tmp_path / "panda-Entry.log").read_text().count("\n") == 1


def test_a_full_disk_is_said_once_and_writing_goes_on_after(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "panda-Entry.log"
    file.symlink_to("/dev/full")
    log_files.open_logs(tmp_path, "INFO", log_files.ENTRY)
    for _ in range(5):
        log_files.get(log_files.ENTRY).info("lost")
    file.unlink()
    log_files.get(log_files.ENTRY).info("kept")
    assert file.read_text().endswith("kept\n")
    assert capfd.readouterr().err.count("log lines are being lost") == 1


def test_a_missing_log_directory_is_a_fault_with_a_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="logdir: cannot write there"):
        log_files.open_logs(tmp_path / "absent", "INFO", log_files.ENTRY)


def start_writer(file: Path, **options: Any) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "panda_node.log_writer", str(file)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_log_writer_loses_nothing_when_its_file_is_renamed_or_removed(tmp_path: Path) -> None:
    file = tmp_path / "access_log"
    writer = start_writer(file)
    assert writer.stdin
    producer = "import sys\nfor n in range(200000): sys.stdout.write(f'line {n} {chr(120) * (n % 90)}\\n')"
    source = subprocess.Popen([sys.executable, "-c", producer], stdout=writer.stdin)
    writer.stdin.close()
    rotations = rotate(file, 20, lambda: source.poll() is None)
    assert source.wait() == 0
    assert writer.wait(timeout=10) == 0
    lines = all_lines(tmp_path, "access_log")
    assert rotations >= 3
    assert len(lines) == len(set(lines)) == 200000
    assert all(line.startswith(b"line ") and line.endswith(b"\n") for line in lines)
    # The last one may have been renamed after the last line.
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("access_log*")} == {0o644}


HTTPD = """
import os, signal, subprocess, sys, time
event, file = sys.argv[1:]
with open("/proc/self/comm", "w") as comm:
    comm.write("httpd")
source, sink = os.pipe()
logger = subprocess.Popen([sys.executable, "-m", "panda_node.log_writer", file], stdin=source)
os.close(source)
worker = os.fork()
if worker == 0:
    for number in range(20):
        os.write(sink, b"line %d\\n" % number)
        time.sleep(0.1)
    os.write(sink, b"unfinished")
    os._exit(0)
time.sleep(0.5)
if event == "stop":
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT):
    logger.send_signal(number)
if event == "reload":
    os.close(sink)
start = time.monotonic()
print(logger.wait(), time.monotonic() - start)
"""


def run_httpd(event: str, file: Path) -> tuple[int, float]:
    """A parent that treats its logger as httpd does; returns how the logger ended, and after how many seconds."""
    command = [sys.executable, "-c", HTTPD, event, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    code, seconds = done.stdout.split()
    return int(code), float(seconds)


def test_log_writer_stays_at_a_reload_until_the_old_children_are_gone(tmp_path: Path) -> None:
    file = tmp_path / "access_log"
    code, _ = run_httpd("reload", file)
    assert code == 0
    assert file.read_bytes() == b"".join(b"line %d\n" % number for number in range(20)) + b"unfinished"


def test_log_writer_leaves_soon_at_a_stop_though_httpd_keeps_the_pipe_open(tmp_path: Path) -> None:
    file = tmp_path / "access_log"
    code, seconds = run_httpd("stop", file)
    assert code == 0
    assert seconds < 2, "httpd kills a logger that needs three seconds"
    lines = file.read_bytes().splitlines(keepends=True)
    assert lines == [b"line %d\n" % number for number in range(len(lines))]
    assert lines


def test_log_writer_writes_each_line_as_it_comes(tmp_path: Path, eventually: Any) -> None:
    file = tmp_path / "access_log"
    writer = start_writer(file, bufsize=0)
    assert writer.stdin
    writer.stdin.write(b"first\nsec")
    eventually(lambda: file.exists() and file.read_bytes() == b"first\n")
    file.rename(tmp_path / "rotated")
    writer.stdin.write(b"ond\n")
    eventually(lambda: file.exists() and file.read_bytes() == b"second\n")
    assert (tmp_path / "rotated").read_bytes() == b"first\n"
    file.unlink()
    writer.stdin.write(b"third\n")
    eventually(lambda: file.exists() and file.read_bytes() == b"third\n")
    writer.stdin.close()
    assert writer.wait(timeout=5) == 0


def test_log_writer_survives_a_full_disk(tmp_path: Path, eventually: Any) -> None:
    file = tmp_path / "access_log"
    file.symlink_to("/dev/full")
    writer = start_writer(file, bufsize=0)
    assert writer.stdin
    assert writer.stderr
    for _ in range(5):
        writer.stdin.write(b"lost\n")
        time.sleep(0.02)
    assert b"log lines are being lost: [Errno 28] No space left" in writer.stderr.readline()
    file.unlink()
    writer.stdin.write(b"kept\n")
    eventually(lambda: file.exists() and file.read_bytes() == b"kept\n")
    writer.stdin.close()
    assert writer.wait(timeout=5) == 0
    assert writer.stderr.read().decode().strip().endswith("writing again; 25 bytes were lost")


def test_log_writer_starts_with_few_modules() -> None:
    """httpd runs one per log: it must start fast and stay small."""
    script = (
        "import sys; before = set(sys.modules); import panda_node.log_writer; print(len(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 20
