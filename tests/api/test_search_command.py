"""citewell search --filter: how filters are written on a command line."""

from typing import Any

import pytest

from citewell.api.filters import read_filters as read_request
from citewell.cli.search import read_filters
from citewell.errors import InputError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("year>=2020", {"year": {"gte": 2020}}),
        ("year<2024.5", {"year": {"lt": 2024.5}}),
        ("draft!=true", {"draft": {"ne": True}}),
        ("team = a b", {"team": "a b"}),
        ("owner=null", {"owner": None}),
        ("title~=x", {"title": {"contains": "=x"}}),
        ("title~5", {"title": {"contains": "5"}}),
        ("section=2.10", {"section": "2.10"}),
        ("created>=2024-01-01", {"created": {"gte": "2024-01-01"}}),
        ("list=[1, 2]", {"list": "[1, 2]"}),
        ("empty=", {"empty": ""}),
    ],
)
def test_a_filter_is_read_as_a_request_has_it(given: str, expected: dict[str, Any]) -> None:
    filters = read_filters([given])
    assert filters == {"all": [expected]}
    assert read_request(filters).where


def test_no_filter_is_none_and_a_wrong_one_is_told() -> None:
    assert read_filters([]) == {}
    for wrong in ("", "year", "=5", ">=5"):
        with pytest.raises(InputError, match="team=a"):
            read_filters([wrong])
