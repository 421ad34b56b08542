"""What evaluations read and write: baselines, rows of runs, datasets made from what was asked."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from citewell.cli.client import Client, list_all
from citewell.domain import Json
from citewell.errors import InputError

TOLERANCE = 0.02
"""As the API's; told here so that the command line's help needs no numpy."""
LONGEST_QUOTE = 2_000


def read_rows(client: Client, run_id: str) -> list[Json]:
    """Return what was measured of each question of a run."""
    from citewell.evals.metrics import in_order  # noqa: PLC0415 - few commands need it

    questions = list_all(client, f"/evals/{run_id}/questions", "questions", {})
    rows = [each["result"] for each in questions if each["result"] is not None]
    return [{**row, "metrics": in_order(row["metrics"])} for row in rows]


def baseline_of(run: Json, rows: Sequence[Json]) -> str:
    """Return a run's figures as the gate compares with them: no times, no ids, one question a line.

    Holds:   the same figures are the same text.
    """
    head = {"dataset_sha256": run["dataset_sha256"], "retrieval_only": run["retrieval_only"]}
    means = {name: mean["mean"] for name, mean in run["figures"]["metrics"].items()}
    lines = ",\n".join(
        json.dumps(
            {"id": row["id"], "question": row["question"], "metrics": row["metrics"]},
            ensure_ascii=False,
        )
        for row in rows
    )
    start = json.dumps({**head, "means": means}, indent=1).removesuffix("\n}")
    return f'{start},\n "questions": [\n{lines}\n]}}\n'


def read_baseline(client: Client, named: str) -> list[Json]:
    """Read a baseline: a file, else a run.

    Raises:  InputError – it is neither.
    """
    path = Path(named)
    if not path.is_file():
        return read_rows(client, named)
    return read_baseline_file(path)


def read_baseline_file(path: Path) -> list[Json]:
    """Read a baseline's rows.

    Raises:  InputError – the file is no baseline.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["questions"]
        return [{name: row[name] for name in ("id", "question", "metrics")} for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "The baseline cannot be read. Write one with `citewell eval run DATASET -o FILE`."
        ) from error


def judge(before: Sequence[Json], after: Sequence[Json], tolerance: float) -> Json:
    """Compare rows with a baseline's: each difference, and the names of the metrics too far down.

    Raises:  InputError – the baseline is of other questions.
    """
    from citewell.evals.compare import compare, list_worse  # noqa: PLC0415 - numpy is slow to load
    from citewell.evals.run import rows_by_key  # noqa: PLC0415 - see above

    old, new = rows_by_key(before), rows_by_key(after)
    missing = old.keys() ^ new.keys()
    if missing:
        raise InputError(
            f"{len(missing)} questions are not in both the dataset and the baseline. Write the "
            "baseline anew with `citewell eval run DATASET -o FILE`."
        )
    differences = compare(old, new)
    worse = list_worse(differences, tolerance)
    return {
        "differences": [asdict(each) for each in differences],
        "worse": [each.metric for each in worse],
    }


def from_chat_logs(client: Client) -> tuple[list[Json], list[Json]]:
    """Return a line for each question whose answer is kept, as it was answered; none to look at."""
    logs = list_all(client, "/chat-logs", "chat_logs", {"status": "complete"})
    lines: dict[str, Json] = {}
    for entry in logs:
        if entry["question"] and entry["question"] not in lines:
            answer = client.send("GET", f"/chat-logs/{entry['answer_id']}")["answer"]
            if answer is not None and (line := _line_of(answer)) is not None:
                lines[entry["question"]] = line
    return list(lines.values()), []


def from_feedback(client: Client) -> tuple[list[Json], list[Json]]:
    """Return a line for each answer that was liked, and apart what was not liked, or is gone."""
    kept: dict[str, Json] = {}
    review: list[Json] = []
    for entry in list_all(client, "/feedback", "feedback", {}):
        answer = _find_answer(client, entry["answer_id"])
        line = None if answer is None else _line_of(answer)
        if entry["rating"] == "up" and line is not None:
            kept.setdefault(entry["question"], line)
        else:
            review.append(
                {
                    "id": entry["answer_id"],
                    "question": entry["question"],
                    "rating": entry["rating"],
                    "comment": entry["comment"],
                    "answer": answer and answer["answer"],
                    **({"expected": line["expected"]} if line and "expected" in line else {}),
                }
            )
    return list(kept.values()), review


SOURCES: Mapping[str, Callable[[Client], tuple[list[Json], list[Json]]]] = {
    "chat-logs": from_chat_logs,
    "feedback": from_feedback,
}


def _find_answer(client: Client, answer_id: str) -> Json | None:
    try:
        return client.send("GET", f"/answers/{answer_id}")
    except InputError:
        return None  # it was removed after its days


def _line_of(answer: Json) -> Json | None:
    """Return an answer as what is expected from now on: the same quotes, or a refusal again."""
    line: Json = {"id": answer["answer_id"], "question": answer["question"]}
    if answer["refused"]:
        return {**line, "answerable": False}
    places = {
        (each["document_name"], each["quote"]): {
            "document": each["document_name"],
            "quote": each["quote"],
        }
        for each in answer["citations"]
        if each.get("quote") and len(each["quote"]) <= LONGEST_QUOTE
    }
    return {**line, "answerable": True, "expected": list(places.values())} if places else None


def write(path: Path, content: str) -> None:
    """Write a file.

    Raises:  InputError – it cannot be written.
    """
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"The file cannot be written: {error.strerror}. Name another one."
        ) from error


def write_lines(path: Path, lines: Sequence[Json]) -> None:
    """Write JSON lines."""
    write(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
