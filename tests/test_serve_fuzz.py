"""The endpoints of `advisor serve` against their own OpenAPI description, by schemathesis."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import served

from advisor.serving.limits import Limits

schemathesis = pytest.importorskip("schemathesis", reason="needs pip install schemathesis")

EXAMPLES = 60  # for each operation and each way of making requests


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
def test_every_answer_is_as_described(finished_run, mode):
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    limits = Limits(rate=10_000, burst=10_000)
    with served(finished_run, limits, coverage=0.9) as server:
        schema = schemathesis.openapi.from_url(f"{server.address}/openapi.json")
        operations = [operation.ok() for operation in schema.get_all_operations()]
        assert {operation.label for operation in operations} == {
            "GET /api/run",
            "POST /api/predict",
            "POST /api/heatmap",
        }
        of_mode = schemathesis.GenerationMode[mode]
        asked = st.one_of([operation.as_strategy(generation_mode=of_mode) for operation in operations])
        statuses = set()

        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(asked)
        def check(case):
            answer = case.call()
            statuses.add(answer.status_code)
            case.validate_response(
                answer,
                checks=[
                    not_a_server_error,
                    checks.status_code_conformance,
                    checks.content_type_conformance,
                    checks.response_schema_conformance,
                    checks.unsupported_method,
                ],
            )

        check()
        assert 422 in statuses  # of bytes that are no picture
