"""The API's own description, and what a fuzzer makes of it: no failure of ours, nothing of the inside, no hang."""

import contextlib
import os
import time
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from panda_node.web import create_application
from panda_node.web.methods import METHODS
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

EXAMPLES = int(os.environ.get("PANDA_FUZZ_EXAMPLES", "8"))
"""Calls for each method and way; with more than the usual they differ from run to run."""
FUZZING = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance]


def test_every_method_is_described(sqlite_api: Any) -> None:
    answer = sqlite_api.client.simulate_get("/api/v1/openapi.json").json
    assert set(answer["paths"]) == {f"/api/v1/{group}/{name}" for group, name in METHODS}
    acquire = answer["paths"]["/api/v1/pilot/acquire_jobs"]["post"]
    schema = acquire["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["site_name"]
    assert acquire["summary"].startswith("Hands out waiting jobs")
    ids = answer["paths"]["/api/v1/job/get_status"]["get"]["parameters"][0]
    assert (ids["name"], ids["required"], ids["schema"]["items"]["type"]) == ("job_ids", True, "integer")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
def test_a_fuzzer_finds_no_failure(postgres_api: Any, mode: GenerationMode) -> None:
    postgres_api.submit()
    postgres_api.daemon("split_tasks")
    headers = {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-S-DN": "/DC=test/CN=pilot"}
    application = create_application(postgres_api.settings)
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", application)
    tried = 0
    for operation in (result.ok() for result in schema.get_all_operations()):

        @settings(FUZZING, max_examples=EXAMPLES, derandomize=EXAMPLES == 8)
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            nonlocal tried
            tried += 1
            start = time.monotonic()
            response = case.call(headers=headers)
            assert time.monotonic() - start < 10
            assert "Traceback" not in response.text
            assert "sqlalchemy" not in response.text.lower()
            case.validate_response(response, checks=CHECKS)

        with contextlib.suppress(Unsatisfiable):  # nothing can be wrong about a call without arguments
            ask()
    assert tried > 100, tried
