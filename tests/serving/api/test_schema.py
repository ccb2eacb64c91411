"""Schemathesis against the API: whatever is sent, no 5xx, and every answer as the schema says.

Some hundred cases here; `--api-cases 10000` for the full run.
"""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, GenerationMode, checks, openapi

from serving.api.app import create_app
from serving.api.keys import SCOPES, KeyRing, new_key
from serving.questions import NewEvent, NewEvents
from serving.service import Service
from tests.serving.shop import item, make_service

OPERATIONS, BARE = 17, 3  # of these, operations that take nothing: one case is all there is
ITEMS_SHOWN = [item(row) for row in range(0, 30, 7)]
KEY, CLIENT = new_key("schemathesis", SCOPES, 1e6, 1_000_000)
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
          "response_schema_conformance", "negative_data_rejection", "unsupported_method")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    service = make_service(tmp_path_factory.mktemp("shop"))
    service.add_events(NewEvents(events=tuple(
        NewEvent(event_id=f"e{row}", user_id="u", item_id=item(row), event_type="view") for row in range(30))))
    return service


def _send(operation: APIOperation, cases: int, held: list, counts: dict[int, int]) -> None:
    """Send cases within and beyond the schema and count the answers by status."""
    both = operation.as_strategy(generation_mode=GenerationMode.POSITIVE) | operation.as_strategy(
        generation_mode=GenerationMode.NEGATIVE)

    @settings(max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=both, known=st.sampled_from([*ITEMS_SHOWN, None]))
    def send(case: schemathesis.Case, known: str | None) -> None:
        if known is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
            _ask_of(known, case)
        if case.headers and "Authorization" in case.headers:
            case.headers["Authorization"] = f"Bearer {KEY}"  # without one it stays a refusal, as the schema says
        answer = case.call()
        counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
        case.validate_response(answer, checks=held)

    send()


def _ask_of(item_id: str, case: schemathesis.Case) -> None:
    """Let a case ask of an item that there is: made-up ids alone are answered by nothing but 404."""
    for place in (case.body, case.path_parameters):
        if isinstance(place, dict) and "item_id" in place:
            place["item_id"] = item_id
        if isinstance(place, dict) and "item_ids" in place:
            place["item_ids"] = [item_id, *place["item_ids"][1:]]


def test_no_case_breaks_the_api_or_its_schema(service: Service, pytestconfig: pytest.Config) -> None:
    checks.load_all_checks()
    held = checks.CHECKS.get_by_names(CHECKS)
    schema = openapi.from_asgi("/openapi.json", create_app(service, keys=KeyRing([CLIENT])))
    wanted = pytestconfig.getoption("--api-cases")
    told: dict[str, dict[int, int]] = {}
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == OPERATIONS
    for operation in operations:
        _send(operation, -(-wanted // (OPERATIONS - BARE)), held, told.setdefault(operation.label, {}))
    total = sum(sum(counts.values()) for counts in told.values())
    for label, counts in told.items():
        print(f"{label:32} {dict(sorted(counts.items()))}")
    print(f"{total:,} cases")
    assert total >= wanted
    assert not [label for label, counts in told.items() if any(status >= 500 for status in counts)]
    # The run looked at answers, and not at refusals alone. This shop has no pictures to search by.
    assert [label for label, counts in told.items() if 200 not in counts] == ["POST /v1/search/image"]
