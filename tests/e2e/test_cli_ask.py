"""citewell ask in modes and sessions, citewell feedback, and models that are named wrongly."""

import json
from pathlib import Path

import httpx
import pytest

from e2e.processes import Program

pytestmark = pytest.mark.timeout(180)


def test_asking_in_a_mode_and_in_a_session(data: Path, tmp_path: Path) -> None:
    program = Program(data)
    (tmp_path / "clock.txt").write_text("The pendulum clock was built in 1656 by Huygens.")
    with program.up() as running:
        program.json("ingest", str(tmp_path / "clock.txt"))
        shown = program.run(
            "ask", "When was the pendulum clock built?", "--mode", "structured", "--session", "new"
        )
        assert shown.returncode == 0, shown.stderr
        lines = shown.stdout.splitlines()
        assert lines[0] == "The pendulum clock was built in 1656 by Huygens. [1]"
        assert lines[1] == "  [1] clock.txt [0:48]"
        assert any(line.startswith("  confidence 0.") for line in lines)
        (session,) = [line.split()[1] for line in lines if line.startswith("  session ")]
        followed = program.json("ask", "And by whom?", "--session", session)
        assert followed["standalone"].startswith("And by whom? (")
        assert followed["session_id"] == session
        rated = f"{running.url}/answers/{followed['answer_id']}/feedback"
        httpx.post(rated, json={"rating": "up"}, trust_env=False).raise_for_status()
        exported = program.run("feedback", "export", "--rating", "up")
        (line,) = exported.stdout.splitlines()
        assert json.loads(line)["answer_id"] == followed["answer_id"]
        assert program.run("feedback", "export", "--rating", "down").stdout == ""
        for arguments, said in (
            (("ask", "Who?", "--mode", "none"), "There is no mode 'none'."),
            (("ask", "Who?", "--session", "nonsense"), "There is nothing with that id here."),
            (("feedback", "import"), "feedback does not know 'import'."),
        ):
            wrong = program.run(*arguments)
            assert wrong.returncode == 1
            assert wrong.stderr.startswith(f"citewell: {said}")
            assert len(wrong.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CITEWELL_ANSWER__CHAT_MODEL", "gpt4"),
        ("CITEWELL_ANSWER__MODE", "none"),
        ("CITEWELL_RERANK__BY", "model"),
    ],
)
def test_a_model_that_is_named_wrongly_starts_nothing(
    data: Path, variable: str, value: str
) -> None:
    done = Program(data, **{variable: value}).run("up", "--port", "0")
    assert done.returncode == 1
    assert done.stderr.startswith(f"citewell: {variable}")
    assert len(done.stderr.splitlines()) == 1
    assert "serves" not in done.stdout
