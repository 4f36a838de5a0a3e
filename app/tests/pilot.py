"""A small pilot that runs the real command lines of its jobs."""

import ast
import itertools
import json
import shlex
import ssl
import subprocess
import time
import urllib.request
import uuid
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote


class Pilot:
    """A small pilot: takes jobs over https, runs their real command line, and reports."""

    def __init__(self, url: str, certificate: Path, authority: Path, directory: Path) -> None:
        self._url = url
        self._context = ssl.create_default_context(cafile=str(authority))
        self._context.load_cert_chain(certificate)
        self._directory = directory
        self.outputs: list[str] = []

    def call(self, method: str, **arguments: object) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        return json.loads(self._open(f"/api/v1/pilot/{method}", json.dumps(arguments).encode(), headers))

    def run(self, site: str, seconds: float = 30) -> int:
        """Takes and runs one job; waits for it so long."""
        deadline = time.monotonic() + seconds
        wanted = {"site_name": site, "prod_source_label": "user", "node": "test-node"}
        while not (answer := self.call("acquire_jobs", **wanted))["success"]:
            assert answer["message"] == "No jobs in PanDA", answer
            assert time.monotonic() < deadline, "no job came"
            time.sleep(0.1)
        (job,) = answer["data"]["jobs"]
        number = int(job["PandaID"])
        for status in ("starting", "running"):
            assert self.call("update_job", job_id=number, job_status=status, attempt_nr=1)["data"]["command"] == "NULL"
        code, report = self._execute(job)
        status = "failed" if code else "finished"
        details = {"trans_exit_code": code, "job_output_report": json.dumps(report), "attempt_nr": 1}
        assert self.call("update_job", job_id=number, job_status=status, **details)["success"]
        return number

    def _execute(self, job: dict[str, Any]) -> tuple[int, dict[str, object]]:
        """What the transformation runGen does: fetch the sandbox, run the command, collect the outputs."""
        directory = self._directory / str(job["PandaID"])
        directory.mkdir(parents=True)
        options = shlex.split(job["jobPars"])
        value = dict(itertools.pairwise(options))
        archive = directory / "sandbox.tar.gz"
        archive.write_bytes(self._open(f"/cache/{value['-a']}", None, {}))
        subprocess.run(["tar", "--extract", f"--file={archive}", f"--directory={directory}"], check=True)
        done = subprocess.run(
            unquote(value["-p"]), shell=True, cwd=directory, capture_output=True, text=True, check=False
        )
        (directory / job["logFile"]).write_text(done.stdout + done.stderr)
        report = {}
        for made, name in {**ast.literal_eval(value["-o"]), job["logFile"]: job["logFile"]}.items():
            content = (directory / made).read_bytes()
            self.outputs.append(content.decode())
            report[name] = {"guid": str(uuid.uuid4()), "fsize": len(content), "adler32": f"{zlib.adler32(content):08x}"}
        return done.returncode, report

    def _open(self, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        request = urllib.request.Request(f"{self._url}{path}", data=body, headers=headers)
        with urllib.request.urlopen(request, context=self._context, timeout=30) as answer:
            content: bytes = answer.read()
        return content
