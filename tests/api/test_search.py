"""/search: least similarity, explanations, highlights, filters over HTTP."""

import math
from typing import Any

import pytest

from api.stage import Api, read_events, require_problem

QUERY = "Who designed the first pendulum clocks?"


async def search(api: Api, **body: Any) -> list[dict[str, Any]]:
    reply = await api.client.post("/search", json={"query": QUERY, "limit": 200, **body})
    assert reply.status_code == 200, reply.text
    return reply.json()["results"]


async def test_nothing_is_described_that_was_not_asked_for(library: Api) -> None:
    results = await search(library)
    assert all(each["highlights"] is None and each["explain"] is None for each in results)


@pytest.mark.parametrize("least", [0.2, 0.4, 0.6, 1.0])
async def test_results_are_at_least_as_close_as_asked(library: Api, least: float) -> None:
    everything, near = await search(library), await search(library, min_similarity=least)
    # All chunks are in the dense leg here, so each has a cosine.
    assert near == [each for each in everything if each["scores"]["dense"] >= least]
    assert len(near) < len(everything)


async def test_what_only_words_found_lies_below_every_known_cosine(library: Api) -> None:
    least = (await search(library))[0]["scores"]["dense"]
    assert [each["scores"]["dense"] for each in await search(library, min_similarity=least)]


async def test_a_question_may_ask_for_closer_evidence(library: Api) -> None:
    assert (await library.ask(QUERY))["refused"] is False
    for more in ({}, {"mode": "crag"}):
        refused = await library.ask(QUERY, min_similarity=0.99, **more)
        assert refused["refused"]
        assert refused["reason"] in {"below_similarity", "weak_evidence"}
        assert refused["sources"] == []
    sources = (await library.ask(QUERY, min_similarity=0.5))["sources"]
    assert sources
    assert all(each["scores"]["dense"] >= 0.5 for each in sources)


async def test_an_explanation_adds_up_to_the_score(library: Api) -> None:
    results = await search(library, explain=True)
    plain = await search(library)
    assert [each | {"explain": None} for each in results] == plain
    for each in results:
        said = each["explain"]
        parts = [said[leg]["weight"] * said[leg]["normalised"] for leg in ("dense", "lexical")]
        assert math.isclose(sum(parts), each["score"], abs_tol=1e-9)
        assert said["fused"] == each["score"]
        for leg in ("dense", "lexical"):
            assert said[leg]["score"] == each["scores"].get(leg)
            assert (said[leg]["rank"] is None) is (leg not in each["scores"])
        if "lexical" in each["scores"]:
            assert said["terms"], each["text"]
        assert said["rerank"] is None
        assert said["why"].endswith(".")
    ranks = [each["explain"]["dense"]["rank"] for each in results]
    by_cosine = sorted(results, key=lambda each: -each["scores"]["dense"])
    assert by_cosine[0]["explain"]["dense"]["rank"] == 1
    assert len(set(ranks)) == len(ranks)


async def test_an_explanation_names_the_words_and_how_rare_they_are(library: Api) -> None:
    best = (await search(library, explain=True))[0]["explain"]
    terms = {term["term"]: term["idf"] for term in best["terms"]}
    assert {"pendulum", "clock"} <= terms.keys()
    assert "the" not in terms
    assert list(terms.values()) == sorted(terms.values(), reverse=True)
    assert "pendulum" in best["why"]
    assert f"cosine {best['dense']['score']:.2f}" in best["why"]


async def test_a_search_by_meaning_alone_is_explained_too(library: Api) -> None:
    results = await search(library, query="zzyzx qqqq", explain=True)
    assert results
    for each in results:
        said = each["explain"]
        assert (said["lexical"]["rank"], said["lexical"]["weight"]) == (None, 0)
        assert said["dense"]["weight"] == 1
        assert said["terms"] == []


async def test_highlights_are_the_words_of_the_query(library: Api) -> None:
    results = await search(library, highlight=True)
    shown = 0
    for each in results:
        for span in each["highlights"]:
            word = each["text"][span["start"] : span["end"]].lower()
            assert word.startswith(("design", "first", "pendulum", "clock")), word
            shown += 1
    assert shown > 20
    first = results[0]
    words = {first["text"][s["start"] : s["end"]].lower() for s in first["highlights"]}
    assert "pendulum" in words


@pytest.mark.parametrize("query", ["'; DROP TABLE chunks; --", "\\' | & ! <-> :*", "a" * 3999,
                                   "\ue000 clock \ue001", "clock\u202eclock", "%_\\"])  # fmt: skip
async def test_any_query_may_be_described(library: Api, query: str) -> None:
    for each in await search(library, query=query, highlight=True, explain=True, limit=5):
        assert each["highlights"] is not None
        assert each["explain"]["why"]


@pytest.mark.parametrize("body", [{"min_similarity": -0.1}, {"min_similarity": 1.1},
                                  {"min_similarity": "x"}, {"highlight": "perhaps"},
                                  {"explain": 5}, {"min_similarity": None}])  # fmt: skip
async def test_wrong_wishes_are_422(library: Api, body: dict[str, Any]) -> None:
    require_problem(await library.client.post("/search", json={"query": "x", **body}), 422)


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"section": "4"}, {"book.html"}),
    ({"section": "huygens’ clock"}, {"book.html"}),
    ({"media_type": "text/html"}, {"book.html"}),
    ({"any": [{"media_type": "application/pdf"}, {"section": 4}]}, {"book.html", "longitude.pdf"}),
    ({"not": {"not": {"document_name": "book.html"}}}, {"book.html"}),
    ({"author": {"contains": "CITEWELL"}, "media_type": "text/html"}, {"book.html"}),
    ({"created": {"lt": "2001-01-01"}}, set()),
    ({"created": {"gte": "2001-01-01"}, "document_name": ["book.html"]}, {"book.html"}),
    ({"author": {"exists": False}, "document_name": "book.html"}, set()),
]


@pytest.mark.parametrize(("filters", "names"), FILTERS)
async def test_filters_hold_at_every_door(
    library: Api, filters: dict[str, Any], names: set[str]
) -> None:
    results = await search(library, filters=filters)
    assert {each["document_name"] for each in results} == names
    asked = await library.ask(QUERY, filters=filters)
    chat = (await library.client.post("/chat", json={"message": QUERY, "filters": filters})).json()
    stream = await library.client.post(
        "/query/stream", json={"question": QUERY, "filters": filters}
    )
    done = read_events(stream.text)[-1][1]
    completed = await library.client.post(
        "/v1/chat/completions",
        json={"model": "citewell", "messages": [{"role": "user", "content": QUERY}],
              "citewell": {"filters": filters}},
    )  # fmt: skip
    assert completed.status_code == 200, completed.text
    for answer in (asked, chat, done):
        assert {each["document_name"] for each in answer["sources"]} <= names
        assert answer["answer"] == asked["answer"]
        assert bool(answer["sources"]) is bool(names)
    again = await library.client.post(f"/answers/{asked['answer_id']}/replay")
    assert again.json()["same"] is True


async def test_sections_are_searched_with_all_below_them(library: Api) -> None:
    found = await search(library, filters={"section": "4"}, limit=200)
    assert {each["section"] for each in found} > {"4.2"}
    assert all(each["section"] == "4" or each["section"].startswith("4.") for each in found)
    everything = await search(library, filters={"document_name": "book.html"}, limit=200)
    inside = [each["chunk_id"] for each in everything if each["section"].split(".")[0] == "4"]
    assert {each["chunk_id"] for each in found} == set(inside)


async def test_a_wrong_filter_is_a_sentence_that_names_it(library: Api) -> None:
    bodies = {"/search": "query", "/query": "question", "/query/stream": "question",
              "/chat": "message"}  # fmt: skip
    for path, name in bodies.items():
        body: dict[str, Any] = {name: "x"}
        reply = await library.client.post(path, json=body | {"filters": {"year": {"gte": "soon"}}})
        assert "filters.year.gte must be a number" in require_problem(reply, 422)["detail"]
