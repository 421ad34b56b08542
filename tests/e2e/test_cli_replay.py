"""citewell replay against a running server."""

from pathlib import Path

from e2e.processes import Program


def test_an_answer_is_replayed(data: Path, tmp_path: Path) -> None:
    program = Program(data)
    (tmp_path / "clock.txt").write_text("The pendulum clock was built in 1656 by Huygens.")
    (tmp_path / "town.txt").write_text("The town hall's pendulum clock was built in 1702.")
    with program.up():
        program.json("ingest", str(tmp_path / "clock.txt"))
        answer = program.json("ask", "When was the pendulum clock built?")
        same = program.run("replay", answer["answer_id"])
        assert same.returncode == 0, same.stderr
        assert same.stdout.startswith("The search finds the same chunks in the same order")
        program.json("ingest", str(tmp_path / "town.txt"))
        raw = program.json("replay", answer["answer_id"])
        assert (raw["same"], raw["index_changed"]) == (False, ["default"])
        assert len(raw["added"]) == 1
        shown = program.run("replay", answer["answer_id"])
        assert "Changed since: documents in default." in shown.stdout
        assert f"added    {raw['added'][0]}" in shown.stdout
        unknown = program.run("replay", "nonsense")
        assert unknown.returncode == 1
        assert unknown.stderr.startswith("citewell: There is nothing with that id here.")
