"""Questions that lean on a conversation, and questions asked in more ways than one."""

import json
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest

from citewell.answer.follow_up import leans
from citewell.answer.rewrite import MOST_PASSAGE_CHARACTERS, make_standalone, rewrite
from citewell.domain import PUBLIC_WORKSPACE, Message, Usage
from citewell.errors import ProviderError
from citewell.ports import ModelCall
from citewell.ports.models import ShapeT

EXAMPLES = Path(__file__).parents[2] / "examples" / "questions.jsonl"
W = PUBLIC_WORKSPACE

FOLLOW_UPS = [
    ("When was the first working pendulum clock designed?", "And by whom?", "pendulum clock"),
    ("When was the first working pendulum clock designed?", "Who designed it?", "pendulum clock"),
    ("When was the first pendulum clock designed?", "How accurate was it?", "pendulum clock"),
    ("Who built the caesium clock at Teddington?", "When did they build it?", "caesium Teddington"),
    ("What did John Harrison invent?", "When did he die?", "John Harrison"),
    ("What did John Harrison invent?", "Where did he live?", "Harrison"),
    ("How far off was H4 at Jamaica?", "What about K1?", "Jamaica"),
    ("How many leap seconds were there in 1972?", "And in 1985?", "leap seconds"),
    ("What was TAI minus UTC in 1998?", "What about 2016?", "TAI UTC"),
    ("Why was Greenwich chosen as prime meridian?", "Who voted against it?", "Greenwich meridian"),
    ("Who met at the Washington conference?", "How many countries?", "Washington conference"),
    ("Who met at the Washington conference?", "Who abstained?", "Washington conference"),
    ("Which country skipped a day in 2011?", "Why?", "skipped 2011"),
    ("Which country skipped a day in 2011?", "Why did it do that?", "skipped 2011"),
    ("How does a quartz watch count seconds?", "Why that frequency?", "quartz watch"),
    ("What is a fusee for?", "How does that work?", "fusee"),
    ("What is a fusee for?", "Explain that in more detail.", "fusee"),
    ("What is a fusee for?", "Tell me more.", "fusee"),
    ("What is a fusee for?", "For example?", "fusee"),
    ("How long was the year 46 BC?", "What was it called?", "46 BC"),
    ("Which town had a second minute hand?", "Why was that?", "minute hand"),
    ("What did the Longitude Act promise?", "What was the prize?", "Longitude Act"),
    ("What did the Longitude Act promise?", "Who won?", "Longitude Act"),
    ("What did the Longitude Act promise?", "How much exactly?", "Longitude Act"),
    ("How was the day split in revolutionary France?", "Until when?", "revolutionary France"),
    ("How was the day split in revolutionary France?", "How long did it last?", "France"),
    ("Which clocks did Hafele and Keating fly?", "What happened to those?", "Hafele Keating"),
    ("Which clocks did Hafele and Keating fly?", "Which one gained time?", "Hafele Keating"),
    ("Who proposed daylight saving time?", "What was his reason?", "daylight saving"),
    ("Who proposed daylight saving time?", "Were there others?", "daylight saving"),
    ("Is an atomic clock radioactive?", "Why not?", "atomic clock"),
    ("When did Britain adopt the Gregorian calendar?", "Sweden?", "Gregorian calendar"),
    ("When did Britain adopt the Gregorian calendar?", "How about Russia?", "Gregorian calendar"),
    ("What is invar made of?", "What are its advantages?", "invar"),
    ("What is invar made of?", "Is there an alternative to it?", "invar"),
    ("Who made the mercury pendulum?", "and the gridiron?", "pendulum"),
    ("Wer baute die erste Pendeluhr?", "Wann war das?", "Pendeluhr"),
    ("Wer baute die erste Pendeluhr?", "Wie genau war sie?", "Pendeluhr"),
    ("Wer baute die erste Pendeluhr?", "Und warum?", "Pendeluhr"),
    ("Wie viele Schaltsekunden gab es 1972?", "Und 1985?", "Schaltsekunden"),
    ("Was ist eine Atomuhr?", "Wie funktioniert das genau?", "Atomuhr"),
    ("Was ist eine Atomuhr?", "Wer hat sie erfunden?", "Atomuhr"),
    ("Warum wurde Greenwich gewählt?", "Was ist mit Paris?", "Greenwich"),
    ("Was erfand John Harrison?", "Wann starb er?", "John Harrison"),
]

ALONE = [
    "Who invented the tourbillon?", "What is invar?", "What are leap seconds?", "Who was Harrison?",
    "How does a water clock work?", "What does this document say about sundials?",
    "Is it true that an atomic clock is radioactive?", "How many time zones are there in China?",
    "Who discovered the alloy that hardly expands with heat, and what is it made of?",
    "Which copy of H4 went with Captain Cook, and who made it?", "What time is it in Nepal?",
    "Why do sailors wind their clocks at noon?", "When did Harrison finish his third timekeeper?",
    "How long does it take to cross the Atlantic?", "NTP stratum 16", "fusee",
    "On which days do a sundial and a clock show the same time?",
    "When did the war end?", "What is a top hat?",
    "Compare the verge with the anchor escapement.", "And how is the second defined by law today?",
    "Wie wird die Sekunde definiert?", "Gibt es Schaltsekunden nach 2016?", "Was ist eine Unruh?",
    "Wer entdeckte die Legierung, die sich kaum ausdehnt, und woraus besteht sie?",
    "Können Sie mir sagen, wer die Pendeluhr erfand?",
]  # fmt: skip


def said(*texts: str) -> list[Message]:
    """Return a conversation that begins with the user."""
    return [Message("assistant" if n % 2 else "user", text) for n, text in enumerate(texts)]


class Talker:
    """A language model that says what it is told; ``fails`` after the first piece."""

    name = "talker"
    window_tokens = 4096

    def __init__(self, reply: str, *, fails: bool = False) -> None:
        self.reply, self.fails = reply, fails
        self.calls: list[ModelCall] = []
        self.closed = False

    async def stream(self, call: ModelCall) -> AsyncGenerator[str | Usage]:
        self.calls.append(call)
        try:
            for start in range(0, len(self.reply), 7):
                yield self.reply[start : start + 7]
                if self.fails:
                    raise ProviderError
            yield Usage(100, 10)
        finally:
            self.closed = True

    async def extract(self, call: ModelCall, shape: type[ShapeT]) -> tuple[ShapeT, Usage]:
        self.calls.append(call)
        if self.fails:
            raise ProviderError
        return shape.model_validate_json(self.reply), Usage(100, 10)

    def estimate_cost(self, input_tokens: int, output_tokens: int) -> float | None:
        return None


async def standalone(question: str, history: Sequence[Message], model: Talker | None = None) -> str:
    found, usage = await make_standalone(W, question, history, model, 5.0)
    assert usage == (Usage(100, 10) if model and history else Usage())
    return found


def test_there_are_enough_follow_ups() -> None:
    assert len(FOLLOW_UPS) >= 30
    assert len({follow_up for _, follow_up, _ in FOLLOW_UPS}) >= 30


@pytest.mark.parametrize(("before", "question", "words"), FOLLOW_UPS)
async def test_a_follow_up_carries_over_what_it_leans_on(
    before: str, question: str, words: str
) -> None:
    found = await standalone(question, said(before, "It is so [1]."))
    assert found.startswith(question)
    for word in words.split():
        assert word in found
    assert len(found) < len(question) + len(before) + 8


@pytest.mark.parametrize("question", ALONE)
async def test_a_question_that_stands_alone_stays_as_it_is(question: str) -> None:
    history = said("Which country skipped a day in 2011?", "Samoa had no 30 December 2011 [1].")
    assert await standalone(question, history) == question


@pytest.mark.parametrize(
    "question", [json.loads(line)["question"] for line in EXAMPLES.read_text("utf-8").splitlines()]
)
async def test_the_example_questions_stand_alone(question: str) -> None:
    assert await standalone(question, said("What is a fusee for?", "For force [1].")) == question


async def test_without_a_history_nothing_is_carried_and_nobody_is_asked() -> None:
    talker = Talker("What did Harrison invent?")
    assert await standalone("What about it?", [], talker) == "What about it?"
    assert talker.calls == []
    assert await standalone("What about it?", said(" ")) == "What about it?"


async def test_looks_back_to_the_last_question_that_stands_alone() -> None:
    history = said(
        "Who invented the tourbillon?", "Breguet [1].",
        "Who built the pendulum clock?", "Huygens did [2].", "When?", "In 1656 [2].",
    )  # fmt: skip
    found = await standalone("How accurate was it?", history)
    assert "pendulum clock" in found
    assert "tourbillon" not in found


async def test_a_year_or_a_label_takes_the_others_place() -> None:
    found = await standalone("And in 1985?", said("How many leap seconds were there in 1972?"))
    assert "1972" not in found
    assert "leap seconds" in found
    found = await standalone("What about K1?", said("How far off was H4 at Jamaica?"))
    assert "H4" not in found


async def test_names_come_from_the_answer_where_the_question_has_none() -> None:
    history = said("who designed the pendulum clock?", "It was Christiaan Huygens in 1656 [§4.2].")
    found = await standalone("When did he die?", history)
    assert found == "When did he die? (Christiaan Huygens designed pendulum clock)"
    assert "Huygens" not in await standalone("When was it built?", history)


async def test_what_is_carried_over_is_bounded() -> None:
    found = await standalone("Why is that?", said(" ".join(f"word{n}" for n in range(500))))
    assert len(found.split()) <= 15


@pytest.mark.parametrize("text", ["", "  ", "?!", "🕰", "it", "(", "\\", "a" * 4000, "that " * 800])
async def test_odd_questions_and_histories_do_no_harm(text: str) -> None:
    assert (await standalone(text, said("What is a fusee?"))).startswith(text.rstrip())
    assert (await standalone("Why is that?", said(text))).startswith("Why is that?")


async def test_the_model_makes_the_question_stand_alone() -> None:
    talker = Talker(' Standalone question: "When did Sweden adopt the Gregorian calendar?"\n')
    history = said("When did Britain adopt the Gregorian calendar?", "In 1752 [1].")
    found = await standalone("And Sweden?", history, talker)
    assert found == "When did Sweden adopt the Gregorian calendar?"
    (call,) = talker.calls
    assert [each.role for each in call.messages] == ["system", "user"]
    data = json.loads(call.messages[1].content)
    assert data["last_question"] == "And Sweden?"
    assert data["conversation"][1] == {"role": "assistant", "content": "In 1752 [1]."}
    assert (call.workspace_id, call.deadline_seconds) == (W, 5.0)
    assert "Sweden" not in call.messages[0].content, "what users wrote is data, not the prompt"


@pytest.mark.parametrize(
    "reply",
    [
        "", "   \n", '""', "Sweden adopted the Gregorian calendar in 1753 [1].",
        "When did Sweden adopt it?\n\nIt did so in 1753.", "When did Sweden adopt it? " * 20,
        "In 1753, is what the documents say.", "PWNED", "Ignore the question",
    ],
)  # fmt: skip
async def test_a_reply_that_is_no_question_is_not_taken(reply: str) -> None:
    talker = Talker(reply)
    history = said("When did Britain adopt the Gregorian calendar?", "In 1752 [1].")
    found = await standalone("And Sweden?", history, talker)
    assert found == "And Sweden? (Britain adopt Gregorian calendar)"
    assert talker.closed
    assert len(talker.calls) == 1


async def test_a_reply_that_loses_the_questions_number_is_not_taken() -> None:
    talker = Talker("How many leap seconds were there in 1972?")
    found = await standalone("And in 1985?", said("How many leap seconds in 1972?"), talker)
    assert found == "And in 1985? (leap seconds)"


async def test_a_long_history_is_cut() -> None:
    talker = Talker("When did Sweden adopt the calendar?")
    await standalone("And Sweden?", said(*["x" * 50_000] * 40), talker)
    assert len(talker.calls[0].messages[1].content) < 6_000


async def test_a_model_that_fails_is_an_error() -> None:
    with pytest.raises(ProviderError):
        await standalone("And Sweden?", said("When did Britain?"), Talker("When…", fails=True))
    with pytest.raises(ProviderError):
        await rewrite(W, "When was H4 built?", "multi-query", Talker("", fails=True), 5.0)


async def test_more_queries_follow_the_question() -> None:
    queries = ["Year of H4's completion", " when was\n H4 made? ", "WHEN WAS H4 BUILT?", "", "?!"]
    talker = Talker(json.dumps({"queries": queries}))
    found, usage = await rewrite(W, "When was H4 built?", "multi-query", talker, 5.0)
    assert found == ("When was H4 built?", "Year of H4's completion", "when was H4 made?")
    assert usage == Usage(100, 10)
    assert json.loads(talker.calls[0].messages[1].content) == {"question": "When was H4 built?"}


async def test_queries_are_few_and_short() -> None:
    talker = Talker(json.dumps({"queries": [f"{n} " + "x" * 9_999 for n in range(50)]}))
    found, _ = await rewrite(W, "When?", "multi-query", talker, 5.0)
    assert len(found) == 4
    assert max(map(len, found)) <= 300


async def test_no_query_of_use_leaves_the_question() -> None:
    found, _ = await rewrite(W, "When?", "multi-query", Talker('{"queries": []}'), 5.0)
    assert found == ("When?",)
    found, _ = await rewrite(W, "When?", "hyde", Talker(" \n "), 5.0)
    assert found == ("When?",)


async def test_a_hypothetical_passage_is_a_second_query() -> None:
    talker = Talker("H4 was finished\n\nafter years of work. " + "word " * 999)
    found, usage = await rewrite(W, "When was H4 built?", "hyde", talker, 5.0)
    assert found[0] == "When was H4 built?"
    assert found[1].startswith("H4 was finished after years of work. word")
    assert len(found) == 2
    assert len(found[1]) <= MOST_PASSAGE_CHARACTERS
    assert usage == Usage(100, 10)


async def test_without_rewriting_nobody_is_asked() -> None:
    talker = Talker("x")
    assert await rewrite(W, "When?", "off", talker, 5.0) == (("When?",), Usage())
    assert talker.calls == []


def test_most_questions_that_were_asked_alone_stand_alone() -> None:
    assert not any(leans(question) for question in ALONE)
