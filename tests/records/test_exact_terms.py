"""Identifiers and quoted phrases: what a question names exactly comes before what looks like it."""

import random
from collections.abc import Iterator

import pytest

from citewell.domain import ChunkId, LegResult, Scope, Visitor
from citewell.records.lexical import search_lexical
from citewell.records.readers import set_readers
from citewell.records.session import Database, enter_as
from citewell.records.words import identifiers, phrases, searchable
from records.rows import A, Published, add_document, add_workspace, publish_claim, upload
from records.rows import claim as claim_job

LOOK_ALIKES = [
    ("XR-2000-B", "XR-2000-C"), ("E_CONN_0042", "E_CONN_0043"), ("0x80070057", "0x80070005"),
    ("v2.14.3", "v2.14.4"), ("foo_bar.py", "foo_baz.py"), ("CVE-2024-12345", "CVE-2024-12346"),
    ("jane.doe@example.org", "jane.roe@example.org"), ("§ 823 BGB", "§ 824 BGB"),
    ("SKU_77-410/b", "SKU_77-411/b"), ("10.1.2-rc17", "10.1.2-rc18"),
]  # fmt: skip
FILLER = "replace the battery of the device when the pump stops and the lamp is red"

EVERYWHERE = Scope()


@pytest.fixture(autouse=True)
def _as_citewell() -> Iterator[None]:
    yield
    enter_as(Visitor())


async def _search(database: Database, question: str, scope: Scope = EVERYWHERE) -> LegResult:
    async with database.transaction(A) as connection:
        return await search_lexical(connection, A, question, scope, 10)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("(XR‑2000‑B),", {"xr-2000-b"}),
        ("see src/app/foo_bar.py:", {"src/app/foo_bar.py", "foo_bar.py"}),
        ("ISO/IEC 27001", {"iso/iec"}),
        ("v2.14.3 and 2.14.3", {"v2.14.3", "2.14.3"}),
        ("C++ or C#?", {"c++", "c#"}),
        ("§§ 823 ff.", {"§823"}),
        ("a state-of-the-art word, 3.14 and 42", set()),
        ("x" * 300 + "_1", set()),
    ],
)
def test_identifiers_are_taken_as_written(written: str, found: set[str]) -> None:
    assert identifiers(written).keys() == found


def test_words_beside_a_slash_are_words() -> None:
    assert searchable("client/server, XR-2000").split() == ["client", "server,", "XR", "2000"]


@pytest.mark.parametrize(("named", "other"), LOOK_ALIKES)
@pytest.mark.parametrize("language", ["english", "german", "simple"])
async def test_what_is_named_comes_before_look_alikes(
    database: Database, named: str, other: str, language: str
) -> None:
    # The one that holds it does so once, at the end of a long text about other things.
    texts = [f"{other} {other} {FILLER} {other}"] * 5 + [f"{'quite another matter ' * 60}{named}."]
    made = await add_document(database, A, "a.txt", texts, metadata={"language": language})
    for question in (named, named.lower(), f"How do I replace the battery of {named}?"):
        found = await _search(database, question)
        assert next(iter(found.scores)) == made.chunk_ids[5], question
        assert found.first == {made.chunk_ids[5]}
        within = await _search(database, question, Scope(document_names=("a.txt",)))
        assert next(iter(within.scores)) == made.chunk_ids[5], question
        assert within.first == found.first
        assert min(found.scores.values()) > 0


async def test_an_identifier_is_found_before_terms_are_counted(database: Database) -> None:
    await add_document(database, A, "a.txt", ["XR-2000-C and XR-2000-D"] * 3)
    added = await upload(database, A, "new.txt", b"new")
    held = await claim_job(database, A, added.job_id)
    assert held is not None
    await publish_claim(database, A, held, ["a pump, and far from here its part XR-2000-B"])
    found = await _search(database, "XR-2000-B")
    assert len(found.first) == 1
    assert next(iter(found.scores)) in found.first


async def test_an_unknown_identifier_leaves_its_words(database: Database) -> None:
    made = await add_document(database, A, "a.txt", ["XR-2000-C is a pump", "a lamp"])
    found = await _search(database, "XR-2000-Q")
    assert (list(found.scores), found.first) == (made.chunk_ids[:1], frozenset())


async def test_no_budget_drops_an_identifier(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("citewell.records.lexical_lookup.LEAST", 0)
    texts = ["rare words alpha beta", *["PART-1000-X gamma"] * 40]
    made = await add_document(database, A, "a.txt", texts)
    found = await _search(database, "alpha beta PART-1000-X")
    assert set(found.scores) & set(made.chunk_ids[1:])


def test_phrases_are_what_is_quoted() -> None:
    question = 'Who said "to  be", „sein“ or «être»? "?!" “Don’t”'
    assert [phrase.text for phrase in phrases(question)] == ["to be", "sein", "être", "Don’t"]


PHRASED = [
    "The anchor escapement replaced the verge.",
    "An escapement, and an anchor: anchor, escapement, anchor, escapement, anchor, escapement",
    "The ANCHOR\n  escapement was made in 1670.",
    "anchor escapements are many; the anchor escape ment is none",
]


@pytest.mark.parametrize(
    "quoted", ['"anchor escapement"', "“Anchor  Escapement”", "«anchor escapement»"]
)
async def test_chunks_with_a_phrase_come_first(database: Database, quoted: str) -> None:
    made = await add_document(database, A, "a.txt", PHRASED)
    holders = {made.chunk_ids[0], made.chunk_ids[2]}
    for scope in (Scope(), Scope(document_names=("a.txt",))):
        found = await _search(database, f"What is the {quoted}", scope)
        assert found.first == set(list(found.scores)[:2]) == holders
        assert len(found.scores) == 4


async def test_a_phrase_that_nobody_holds_changes_nothing(database: Database) -> None:
    await add_document(database, A, "a.txt", PHRASED)
    found = await _search(database, '"escapement anchor of"')
    plain = await _search(database, "escapement anchor of")
    assert (dict(found.scores), found.first) == (dict(plain.scores), frozenset())


async def test_all_phrases_of_a_question_count(database: Database) -> None:
    made = await add_document(database, A, "a.txt", [
        "a balance spring and a pendulum clock", "a balance spring", "a pendulum clock",
    ])  # fmt: skip
    found = await _search(database, '"balance spring" "pendulum clock"')
    assert found.first == {made.chunk_ids[0]}


async def test_a_phrase_of_function_words_is_looked_for_among_what_is_found(
    database: Database,
) -> None:
    made = await add_document(database, A, "a.txt", ["Hamlet is not to be", "Hamlet: to do or be"])
    found = await _search(database, 'Where does Hamlet say "to be"')
    assert found.first == {made.chunk_ids[0]}


@pytest.mark.parametrize("language", ["german", "french", "simple"])
async def test_phrases_in_any_language_are_exact(database: Database, language: str) -> None:
    texts = ["Les chevaux de l’école, die alten Häuser", "le cheval de l'école, das alte Haus"]
    made = await add_document(database, A, "a.txt", texts, metadata={"language": language})
    for question, place in (('"alten häuser"', 0), ('"cheval de l’école"', 1)):
        assert (await _search(database, question)).first == {made.chunk_ids[place]}


@pytest.mark.parametrize("quoted", ["a.b*c", "[x", "(", "back\\slash", "100% sure", "^$", "a|b"])
async def test_a_phrase_is_no_pattern(database: Database, quoted: str) -> None:
    made = await add_document(database, A, "a.txt", [f"word {quoted} word", "word abc word"])
    found = await _search(database, f'word "{quoted}"')
    assert found.first <= {made.chunk_ids[0]}


async def test_phrases_and_identifiers_stay_behind_the_walls(database: Database) -> None:
    secret = await add_document(database, A, "s.txt", ["the silver key XR-2000-B"])
    other = await add_workspace(database)
    await add_document(database, other, "o.txt", ["the silver key XR-2000-B"])
    opened = await add_document(database, A, "o.txt", ["a key of silver for XR-2000-C"])
    async with database.transaction(A) as connection:
        await set_readers(connection, A, {secret.document_id: ["group:red"]}, None)
    for question in ('"silver key"', "XR-2000-B"):
        for scope in (Scope(), Scope(metadata={})):
            enter_as(Visitor("key:stranger", tags=("role:viewer",)))
            found = await _search(database, question, scope)
            assert (list(found.scores), found.first) == (opened.chunk_ids, frozenset())
            enter_as(Visitor("key:reader", tags=("group:red",)))
            assert (await _search(database, question, scope)).first == set(secret.chunk_ids)


async def test_many_holders_do_not_crowd_each_other(database: Database) -> None:
    draw = random.Random(5)
    texts = [f"{' '.join(draw.choices(FILLER.split(), k=30))} red lamp" for _ in range(30)]
    made: Published = await add_document(database, A, "a.txt", texts)
    found = await _search(database, '"red lamp" battery')
    held: set[ChunkId] = set(found.first)
    assert len(held) == len(found.scores) == 10
    assert held <= set(made.chunk_ids)
