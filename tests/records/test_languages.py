"""Words are found in every inflection of their document's language, whatever stands beside it."""

import pytest

from citewell.domain import ChunkId, Scope
from citewell.domain.languages import detect_language, known_language
from citewell.records.collections import add_collection
from citewell.records.documents import get_document
from citewell.records.lexical import refresh_lexemes, search_lexical
from citewell.records.session import Database
from records.rows import A, Published, add_document, publish_claim, upload, value
from records.rows import claim as claim_job

TEXTS = {
    "english": "The keepers of the lighthouses were mending their clocks and they knew the sea.",
    "german": "Die Häuser in der Straße sind alt, und die Verträge wurden nicht unterschrieben.",
    "french": "Les chevaux de la ferme sont dans le pré, et les élèves ont mangé au café.",
    "spanish": "Las ciudades de la costa no son grandes, pero las habitaciones y los corazones sí.",
}
FOUND = [
    ("english", "lighthouse"), ("english", "keeper mends a clock"),
    ("german", "Haus"), ("german", "Hauses"), ("german", "Strasse"), ("german", "Vertrag"),
    ("german", "HAEUSER"), ("french", "cheval"), ("french", "élève"), ("french", "eleve"),
    ("french", "cafés"), ("french", "Que mange l'élève ?"), ("spanish", "ciudad"),
    ("spanish", "habitación"), ("spanish", "habitacion"), ("spanish", "corazón"),
]  # fmt: skip

EVERYWHERE = Scope()


async def _add(database: Database, language: str) -> Published:
    metadata = {"language": language}
    return await add_document(database, A, f"{language}.txt", [TEXTS[language]], metadata=metadata)


async def _find(database: Database, question: str, scope: Scope = EVERYWHERE) -> list[ChunkId]:
    async with database.transaction(A) as connection:
        return list((await search_lexical(connection, A, question, scope, 10)).scores)


@pytest.mark.parametrize(("language", "body"), TEXTS.items())
def test_a_sentence_tells_its_language(language: str, body: str) -> None:
    assert detect_language(body) == language


@pytest.mark.parametrize(
    ("body", "language"),
    [
        ("Pendulum clocks", None),
        ("4711 0815 12,5 33", None),
        ("Он не был в городе, но это было давно", "russian"),
        ("時計の歴史 振り子 時計 は 正確", "simple"),
        (
            "Zegar jest na wieży i nie chodzi od wielu lat, ale w mieście to nie przeszkadza",
            "simple",
        ),
    ],
)
def test_what_is_short_or_strange_is_not_guessed(body: str, language: str | None) -> None:
    assert detect_language(body) == language


def test_languages_are_known_by_names_and_codes() -> None:
    given = ["German", "de-AT", "fr_FR", "ENG", " spa ", "klingon", ""]
    wanted = ["german", "german", "french", "english", "spanish", None, None]
    assert [known_language(each) for each in given] == wanted


async def test_one_question_finds_every_language(database: Database) -> None:
    made = {language: await _add(database, language) for language in TEXTS}
    for language, question in FOUND:
        found = await _find(database, question)
        assert found[:1] == made[language].chunk_ids, question


@pytest.mark.parametrize("language", TEXTS)
async def test_a_collection_of_one_language_finds_it(database: Database, language: str) -> None:
    made = await _add(database, language)
    for own, question in FOUND:
        found = await _find(database, question)
        assert (found == made.chunk_ids) == (own == language), question


async def test_function_words_of_one_language_are_not_rare_in_another(database: Database) -> None:
    english = await add_document(
        database, A, "e.txt", ["A pendulum clock keeps time."] * 3, metadata={"language": "en"}
    )
    await add_document(
        database, A, "d.txt",
        ["Die Firma heißt The What Is Of Clockwork", *["Das Wetter ist heute schön"] * 6],
        metadata={"language": "de"},
    )  # fmt: skip
    found = await _find(database, "What is the time of the pendulum?")
    assert found == sorted(english.chunk_ids)


async def test_stems_that_no_chunk_holds_do_not_count(database: Database) -> None:
    await _add(database, "english")
    async with database.transaction(A) as connection:
        alone = await search_lexical(connection, A, "mending clocks", Scope(), 10)
    await _add(database, "german")
    async with database.transaction(A) as connection:
        found = await search_lexical(connection, A, "mending clocks", Scope(), 10)
    assert found.term_idf.keys() == alone.term_idf.keys() == {"mend", "clock"}


async def test_the_language_is_detected_told_and_overridden(database: Database) -> None:
    async def language_of(name: str, metadata: dict[str, str] | None = None) -> str | None:
        made = await add_document(database, A, name, [TEXTS["german"]], metadata=metadata)
        async with database.transaction(A) as connection:
            return (await get_document(connection, A, made.document_id)).language

    # The rows of these tests were not read by a parser, which is what detects.
    assert await language_of("a.txt") == "english"
    assert await language_of("b.txt", {"language": "fr"}) == "french"
    assert await language_of("c.txt", {"language": "klingon"}) in {"english", "french"}


async def test_an_undecided_document_takes_the_main_language(database: Database) -> None:
    await _add(database, "german")
    short = await add_document(database, A, "short.txt", ["Häuser"])
    async with database.transaction(A) as connection:
        assert (await get_document(connection, A, short.document_id)).language == "german"
    assert short.chunk_ids[0] in await _find(database, "Haus")


async def test_a_collection_forgets_a_language(database: Database) -> None:
    german = await _add(database, "german")
    added = await upload(
        database, A, "german.txt", TEXTS["english"].encode(), metadata={"language": "en"}
    )
    held = await claim_job(database, A, added.job_id)
    assert held is not None
    await publish_claim(database, A, held, [TEXTS["english"]])
    languages = "SELECT languages FROM collections"
    assert await value(database, languages) == ["german", "english"]
    async with database.transaction(A) as connection:
        await refresh_lexemes(connection, A, german.collection_id)
    assert await value(database, languages) == ["english"]


async def test_another_collections_language_is_not_asked(database: Database) -> None:
    async with database.transaction(A) as connection:
        await add_collection(connection, A, "second")
    made = await add_document(
        database, A, "d.txt", [TEXTS["german"]], collection="second", metadata={"language": "de"}
    )
    await _add(database, "english")
    assert await _find(database, "Haus", Scope(collection_id=made.collection_id))
    assert await _find(database, "Haus", Scope(metadata={"language": "de"})) == made.chunk_ids
