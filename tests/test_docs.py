"""The documents are true: settings, errors, routes, verbs, commands, links."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from citewell import errors
from citewell.api.app import create_app
from citewell.api.deps import DEEPEST_JSON
from citewell.api.filters import MOST_CHOICES, MOST_FIELDS
from citewell.api.middleware import MOST_JSON_BYTES
from citewell.api.uploads import MOST_NAME_CHARACTERS, MOST_SOURCE_BYTES
from citewell.cli.app import app as command_line
from citewell.cli.operate import settings_rows
from citewell.settings import Settings

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
API = ROOT / "docs" / "api.md"
CLI = ROOT / "docs" / "cli.md"
SECURED = ROOT / "docs" / "security.md"
SETTINGS = ROOT / "docs" / "settings.md"
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "examples" / "README.md",
]
METHODS = {"get", "post", "put", "patch", "delete"}
FOLDERS = {"CITEWELL_DATA": ".local/share/citewell", "CITEWELL_CACHE": ".cache/citewell"}


def name_of(path: Path) -> str:
    """Return a document's path below the checkout."""
    return path.relative_to(ROOT).as_posix()


def settings_table(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the rows that docs/settings.md must hold: variable, default, what it does."""
    for variable in ("CITEWELL_CACHE", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    rows: list[str] = []
    for variable, value, description in settings_rows(Settings(_env_file=None)):
        shown = value
        if variable in FOLDERS:
            assert value == str(Path.home() / FOLDERS[variable])
            shown = f"~/{FOLDERS[variable]}"
        rows.append(f"| `{variable}` | {f'`{shown}`' if shown else ''} | {description} |")
    return rows


def error_classes() -> Iterator[type[errors.CitewellError]]:
    """Yield every class of the error tree."""
    for _, value in inspect.getmembers(errors, inspect.isclass):
        if issubclass(value, errors.CitewellError):
            yield value


def routes() -> set[str]:
    """Return every route of the application as "METHOD path"."""
    described: dict[str, dict[str, Any]] = create_app(Settings()).openapi()["paths"]
    return {
        f"{method.upper()} {path}"
        for path, methods in described.items()
        for method in METHODS & methods.keys()
    }


def anchors_of(path: Path) -> set[str]:
    """Return the anchors that a Markdown file's headings make."""
    text = re.sub(
        r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    titles = re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) < 150


def test_the_readme_shows_the_make_verbs_as_make_help_does() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    verbs = re.findall(r"^([a-z-]+):.*?## (.*)$", makefile, re.MULTILINE)
    expected = [f"  make {verb:<8} {purpose}" for verb, purpose in verbs]
    shown = re.findall(r"^  make .*$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert shown == expected


def test_the_settings_table_is_complete_with_right_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = SETTINGS.read_text(encoding="utf-8").splitlines()
    rows = [line for line in written if line.startswith("| `CITEWELL_")]
    assert rows == settings_table(monkeypatch)


def test_every_setting_named_anywhere_exists() -> None:
    known = {variable for variable, _, _ in settings_rows(Settings())} | {"CITEWELL_URL"}
    for path in DOCUMENTS:
        named = set(re.findall(r"CITEWELL_[A-Z_]*[A-Z]", path.read_text(encoding="utf-8")))
        assert named <= known, name_of(path)


def test_every_error_code_is_in_the_api_document() -> None:
    text = API.read_text(encoding="utf-8")
    unsent = {errors.DocumentRejected, errors.LeaseLost, errors.ParserKilled}
    for error in error_classes():
        if error in unsent:
            assert f"`{error.code}`" in text
        else:
            assert f"| `{error.code}` | {error.status} |" in text


def test_every_code_that_middleware_answers_with_is_in_the_api_document() -> None:
    source = (ROOT / "src/citewell/api/middleware.py").read_text(encoding="utf-8")
    sent = set(re.findall(r'problem_response\(\s*(\d{3}),\s*"([a-z_]+)"', source))
    text = API.read_text(encoding="utf-8")
    assert {code for _, code in sent} >= {"unknown_host", "foreign_origin", "too_large"}
    for status, code in sent:
        assert f"| `{code}` | {status} |" in text


def test_the_api_document_has_the_limits_of_the_code() -> None:
    text = API.read_text(encoding="utf-8")
    assert MOST_JSON_BYTES == 1_048_576
    assert "| the body of any other request | 1 MiB |" in text
    assert f"| a file's name | {MOST_NAME_CHARACTERS} characters |" in text
    assert f"| a file's path (`source`) | {MOST_SOURCE_BYTES:,} bytes in UTF-8 |" in text
    assert f"| nesting of `metadata` and of `filters` | {DEEPEST_JSON} levels," in text
    assert f"| metadata fields in `filters` | {MOST_FIELDS} |" in text
    assert f"| these fields and the values in their lists | {MOST_CHOICES:,} together |" in text


def test_every_decision_is_listed_and_has_the_four_headings() -> None:
    folder = ROOT / "docs" / "decisions"
    decisions = [path for path in sorted(folder.glob("*.md")) if path.name != "README.md"]
    listed = (folder / "README.md").read_text(encoding="utf-8")
    for path in decisions:
        assert f"]({path.name})" in listed
        titles = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert titles == ["Context", "Decision", "Consequences", "Alternatives"], path.name


def test_every_code_that_a_file_is_rejected_with_is_in_the_formats_document() -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "src/citewell").glob("[iw]*/**/*.py")
    )
    codes = set(re.findall(r'DocumentRejected\(\s*"([a-z_]+)"', source))
    codes |= set(re.findall(r'"rejected": \["([a-z_]+)"', source))
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    assert codes
    assert {code for code in codes if f"| `{code}` |" not in text} == set()


def test_the_api_document_has_exactly_the_routes_of_the_application() -> None:
    text = API.read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", text, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == routes()


def test_every_route_named_anywhere_exists() -> None:
    known = routes()
    for path in DOCUMENTS:
        named = re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`?\s]*)", path.read_text("utf-8"))
        assert set(named) <= known, name_of(path)


def test_the_command_line_document_has_exactly_the_commands() -> None:
    groups = {
        str(group.name or group.typer_instance.info.name): group.typer_instance  # type: ignore[union-attr]
        for group in command_line.registered_groups
    }
    listed = [
        f"{verb} {noun}" if verb in groups else verb
        for verb, noun in re.findall(
            r"^\| `citewell ([a-z-]+) ?([a-z-]*)[^`]*` \|",
            CLI.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    ]
    commands = [str(command.name) for command in command_line.registered_commands]
    for name, group in groups.items():
        commands += [f"{name} {command.name}" for command in group.registered_commands]
    assert sorted(listed) == sorted(commands)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_relative_links_lead_somewhere(path: Path) -> None:
    text = re.sub(
        r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), target
        assert not anchor or anchor in anchors_of(found), target


def test_tests_that_the_documents_name_are_there() -> None:
    for path in DOCUMENTS:
        for named in re.findall(r"`(tests/[\w/]+\.py)`", path.read_text(encoding="utf-8")):
            assert (ROOT / named).is_file(), f"{name_of(path)}: {named}"


def test_each_promise_of_security_names_a_test_that_is_there() -> None:
    rows = re.findall(r"^\| [^|]+ \| (.+) \|$", SECURED.read_text(encoding="utf-8"), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", row)]
    assert len(named) > 5
    for file, function in named:
        source = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert f"def {function}" in source, f"{file}::{function}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_nothing_of_one_machine_and_nothing_unfinished(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(?:home|root|work|Users|tmp)/", text)
    unfinished = "TO" + "DO"
    assert unfinished not in text
    assert "PLACEHOLDER" not in text


def test_the_changelog_has_unreleased_changes() -> None:
    assert "\n## Unreleased\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_licence_is_the_whole_apache_licence() -> None:
    lines = (ROOT / "LICENSE").read_text(encoding="utf-8").split("\n")
    words = " ".join(" ".join(lines).split())
    assert words.startswith("Apache License Version 2.0, January 2004 http://www.apache.org/")
    assert "APPENDIX: How to apply the Apache License to your work." in words
    assert words.endswith("limitations under the License.")
