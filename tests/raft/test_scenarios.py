"""Every scenario is shown by a test, and the document says by which."""

import re

from tests.raft.scenarios import DOCUMENT, SCENARIOS, scenarios_cited


def test_every_scenario_is_cited_by_a_test() -> None:
    """And no test cites one that is not on the list."""
    assert sorted(scenarios_cited()) == sorted(SCENARIOS)


def test_document_names_tests_that_cite_what_it_says() -> None:
    """Run `python -m tests.raft.scenarios` when a test got another name."""
    shown = dict(re.findall(r"^\| (S\d\d) \| .* \| (.+) \|$", DOCUMENT.read_text(), re.MULTILINE))

    assert list(shown) == list(SCENARIOS)
    for scenario, citations in scenarios_cited().items():
        tests = set(shown[scenario].split("<br>"))
        assert tests
        assert tests <= {str(citation) for citation in citations}, scenario
