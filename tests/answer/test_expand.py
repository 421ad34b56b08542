"""Evidence: near enough, varied, with neighbours, inside the window."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NoReturn
from uuid import UUID

import pytest

from citewell.answer.expand import Expansion, expand
from citewell.domain import (
    PUBLIC_WORKSPACE,
    Candidate,
    ChunkId,
    DocumentId,
    VersionId,
    WorkspaceId,
)

SECTION = [
    "The clock struck.", "Huygens built one in 1656.", "It kept time to a minute.",
    "A pendulum swung in it.", "Its cheeks were cycloids.",
]  # fmt: skip


def chunk(
    number: int, text: str = "", score: float = 1.0, version: int = 8, **scores: float
) -> Candidate:
    return Candidate(
        ChunkId(UUID(int=100 * version + number)), DocumentId(UUID(int=9)), "a.txt", "A",
        VersionId(UUID(int=version)), number, text or f"Text {number} of {version}.", 10 * number,
        10 * number + 9, None, None, "Clocks", ("Clocks",), None, {}, (), score, scores,
    )  # fmt: skip


PLAIN = Expansion()


class Book:
    """Every chunk of one version is of one section."""

    def __init__(self, *versions: Sequence[Candidate]) -> None:
        self.versions = versions
        self.asked: list[tuple[list[ChunkId], int]] = []

    def read(self, workspace_id: WorkspaceId) -> NoReturn:
        raise AssertionError("expand loads neighbours only")

    async def neighbours(
        self, workspace_id: WorkspaceId, chunk_ids: Sequence[ChunkId], reach: int
    ) -> Mapping[ChunkId, Sequence[Candidate]]:
        self.asked.append((list(chunk_ids), reach))
        return {
            centre.chunk_id: [
                replace(other, score=0.0, scores={})
                for other in version
                if 0 < abs(other.ordinal - centre.ordinal) <= reach
            ]
            for version in self.versions
            for centre in version
            if centre.chunk_id in chunk_ids
        }


def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


async def run(
    candidates: Sequence[Candidate],
    limit: int = 6,
    least: float = 0.0,
    expansion: Expansion = PLAIN,
    book: Book | None = None,
) -> list[Candidate]:
    found = await expand(
        PUBLIC_WORKSPACE, candidates, limit, least, expansion, book or Book(candidates)
    )
    return list(found)


def ordinals(found: Sequence[Candidate]) -> list[int]:
    return [each.ordinal for each in found]


async def test_the_best_are_taken_in_their_order() -> None:
    candidates = [chunk(n, score=1 - n / 10, dense=0.5) for n in range(5)]
    assert await run(candidates, limit=3) == candidates[:3]
    assert await run([], limit=3) == []


async def test_what_is_not_near_enough_is_left_out() -> None:
    candidates = [
        chunk(0, dense=0.7),
        chunk(1, dense=0.3),
        chunk(2, lexical=9.0),
        chunk(3, dense=0.6),
    ]
    assert ordinals(await run(candidates, least=0.5)) == [0, 3], "its cosine is at most 0.3"
    assert ordinals(await run(candidates, least=0.2)) == [0, 1, 2, 3]
    assert ordinals(await run(candidates[:1] + candidates[2:], least=0.5)) == [0, 2, 3]
    assert ordinals(await run(candidates, least=0.8)) == []


async def test_without_a_least_similarity_everything_passes() -> None:
    candidates = [chunk(0, dense=-0.2, lexical=4.0), chunk(1, dense=0.1)]
    assert ordinals(await run(candidates)) == [0, 1]


TELLS = (
    "The first working pendulum clock was designed by Christiaan Huygens in December 1656 at home."
)


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        (TELLS, True),
        (TELLS.upper().replace(" ", "\n"), True),
        ("Designed by Christiaan Huygens in December 1656.", True),
        (TELLS.replace("1656", "1657"), False),
        (TELLS.replace("December 1656", "December"), True),
        (
            TELLS + " It was made by Salomon Coster, a clockmaker of The Hague, who died soon.",
            False,
        ),
        ("Sundials need the sun.", False),
        ("in 1656", False),
    ],
)
async def test_a_chunk_that_repeats_a_better_one_is_dropped(text: str, repeats: bool) -> None:
    candidates = [chunk(0, TELLS), chunk(1, text), chunk(2, "Water clocks drip.")]
    found = await run(candidates, expansion=Expansion(same_meaning=0.8))
    assert ordinals(found) == ([0, 2] if repeats else [0, 1, 2])
    assert ordinals(await run(candidates)) == [0, 1, 2], "1 switches it off"


async def test_the_room_of_a_repetition_goes_to_the_next_one() -> None:
    candidates = [
        chunk(0, TELLS),
        chunk(1, TELLS),
        chunk(2, "Water clocks drip."),
        chunk(3, "Sand."),
    ]
    expansion = Expansion(same_meaning=0.8)
    assert expansion.widens
    assert ordinals(await run(candidates, limit=2, expansion=expansion)) == [0, 2]


async def test_neighbours_follow_their_centre_in_the_documents_order() -> None:
    book = [chunk(n, text) for n, text in enumerate(SECTION)]
    other = [chunk(n, version=7) for n in range(2)]
    centres = [replace(book[2], score=0.9, scores={"dense": 0.8}), replace(other[0], score=0.5)]
    index = Book(book, other)
    found = await run(centres, limit=2, expansion=Expansion(neighbours=1), book=index)
    assert [(each.version_id.int, each.ordinal) for each in found] == [
        (8, 2), (8, 1), (8, 3), (7, 0), (7, 1),
    ]  # fmt: skip
    assert index.asked == [([each.chunk_id for each in centres], 1)], "one call for all"
    assert [dict(each.scores) for each in found] == [{"dense": 0.8}, {}, {}, {}, {}]
    assert [each.score for each in found] == pytest.approx([0.9, 0.89, 0.89, 0.5, 0.49])
    assert all(each.text == SECTION[each.ordinal] for each in found[:3])


async def test_no_chunk_comes_twice_and_a_centre_stays_one() -> None:
    book = [chunk(n, text, score=1 - n / 10, dense=0.5) for n, text in enumerate(SECTION)]
    centres = [book[1], book[2], book[4]]
    found = await run(centres, expansion=Expansion(neighbours=2), book=Book(book))
    assert ordinals(found) == [1, 0, 3, 2, 4]
    assert [bool(each.scores) for each in found] == [True, False, False, True, True]


async def test_the_limit_counts_centres() -> None:
    book = [chunk(n, text) for n, text in enumerate(SECTION)]
    found = await run([book[0], book[2], book[4]], 1, 0.0, Expansion(neighbours=1), Book(book))
    assert ordinals(found) == [0, 1]


async def test_a_neighbours_score_is_never_negative() -> None:
    book = [chunk(n, score=0.0) for n in range(2)]
    found = await run(book[:1], expansion=Expansion(neighbours=1), book=Book(book))
    assert [each.score for each in found] == [0.0, 0.0]


async def test_what_does_not_fit_into_the_window_is_left_out_from_the_end() -> None:
    candidates = [chunk(n, "one two three") for n in range(4)]
    fitting = Expansion(most_tokens=7, count_tokens=words)
    assert ordinals(await run(candidates, expansion=fitting)) == [0, 1]
    exact = Expansion(most_tokens=9, count_tokens=words)
    assert ordinals(await run(candidates, expansion=exact)) == [0, 1, 2]
    assert len(await run(candidates, expansion=Expansion(count_tokens=words))) == 4


async def test_a_chunk_that_never_fits_makes_room_for_the_next_best() -> None:
    candidates = [chunk(0, "one two three four"), chunk(1, "one two"), chunk(2, "one two")]
    small = Expansion(most_tokens=3, count_tokens=words)
    assert ordinals(await run(candidates, expansion=small)) == [1]
    tiny = Expansion(most_tokens=1, count_tokens=words)
    assert await run(candidates, expansion=tiny) == []


async def test_centres_have_room_before_neighbours() -> None:
    book = [chunk(n, "one two three") for n in range(6)]
    window = Expansion(neighbours=1, most_tokens=10, count_tokens=words)
    found = await run([book[1], book[4]], expansion=window, book=Book(book))
    assert ordinals(found) == [1, 0, 4], "one neighbour has room, of the best centre"


async def test_a_window_without_a_counter_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="counter"):
        await run([chunk(0)], expansion=Expansion(most_tokens=5))
