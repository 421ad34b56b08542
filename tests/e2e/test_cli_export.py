"""citewell export against a running server and its workers."""

import csv
import io
import json
from pathlib import Path

from e2e.processes import Program


def test_records_are_exported_to_a_file(data: Path, tmp_path: Path) -> None:
    program = Program(data)
    (tmp_path / "=clock.txt").write_text("The pendulum clock was built in 1656 by Huygens.")
    output = tmp_path / "documents.csv"
    with program.up():
        program.json("ingest", str(tmp_path / "=clock.txt"))
        done = program.run("export", "documents", "--format", "csv", "-o", str(output))
        assert done.returncode == 0, done.stderr
        assert done.stderr.strip().startswith("1 row in ")
        (row,) = csv.DictReader(io.StringIO(output.read_text(encoding="utf-8")))
        assert row["name"] == "'=clock.txt"
        printed = program.run("export", "audit", "--filter", "action=document.upload")
        (line,) = printed.stdout.splitlines()
        assert json.loads(line)["target"] == row["document_id"]
        for wrong in (["export", "nothing"], ["export", "audit", "--filter", "rating=up"]):
            refused = program.run(*wrong)
            assert refused.returncode == 1
            assert refused.stderr.strip().startswith("citewell: ")
        assert program.run("export", "audit", "--filter", "rating").returncode == 2
        assert [path.name for path in tmp_path.glob(".export-*")] == []
