"""POST /documents/upload: what is taken, what is refused, and that no name does harm."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.stage import Api, open_api, require_problem
from citewell.api.uploads import clean_name
from citewell.ingest.pipeline import IngestPipeline
from citewell.records.verify import verify
from citewell.settings import Settings, UploadSettings

BINARY = bytes(range(256)) * 8


async def test_one_file(api: Api) -> None:
    reply = await api.upload(("one.txt", b"One text."))
    assert reply.status_code == 202
    (document,) = reply.json()["documents"]
    assert set(document) >= {"document_id", "name", "job_id", "status"}
    assert (document["name"], document["status"]) == ("one.txt", "queued")
    job = (await api.client.get(f"/jobs/{document['job_id']}")).json()
    assert set(job) >= {"job_id", "status", "reason", "progress"}
    assert (job["status"], job["document_id"]) == ("queued", document["document_id"])
    assert job["request_id"] == reply.headers["x-request-id"]
    await api.work()
    job = (await api.client.get(f"/jobs/{document['job_id']}")).json()
    assert (job["status"], job["reason"], job["progress"]["stage"]) == ("done", None, "done")
    detail = (await api.client.get(f"/documents/{document['document_id']}")).json()
    assert (detail["status"], detail["version"], detail["size_bytes"]) == ("ready", 1, 9)
    assert detail["report"]["characters"] == 9
    assert detail["chunk_count"] == 1


async def test_several_files_keep_their_order(api: Api) -> None:
    names = ["c.txt", "a.md", "b.html"]
    reply = await api.upload(*((name, f"text of {name}".encode()) for name in names))
    documents = reply.json()["documents"]
    assert [document["name"] for document in documents] == names
    assert len({document["document_id"] for document in documents}) == 3
    assert await api.work() >= 3


async def test_metadata_is_kept_and_searchable(api: Api) -> None:
    given = {"author": "Huygens", "year": 1656, "nested": {"a": [1, None, "é😀"]}}
    document = await api.add("meta.txt", "A pendulum.", metadata=json.dumps(given))
    assert document["metadata"].items() >= given.items()


async def test_a_collection_is_filled(api: Api) -> None:
    await api.client.post("/collections", json={"name": "uploads"})
    document = await api.add("in.txt", "Inside.", collection="uploads")
    assert document["collection"] == "uploads"
    listed = (await api.client.get("/documents", params={"collection": "uploads"})).json()
    assert [item["name"] for item in listed["documents"]] == ["in.txt"]


async def test_the_same_bytes_are_unchanged(api: Api) -> None:
    first = (await api.upload(("same.txt", b"same"))).json()["documents"][0]
    await api.work()
    second = (await api.upload(("same.txt", b"same"))).json()["documents"][0]
    assert second == {**first, "status": "unchanged"}
    third = (await api.upload(("same.txt", b"changed"))).json()["documents"][0]
    assert (third["status"], third["document_id"]) == ("queued", first["document_id"])
    await api.work()
    detail = (await api.client.get(f"/documents/{first['document_id']}")).json()
    assert detail["version"] == 2
    assert (await api.client.get(f"/documents/{first['document_id']}/text")).text == "changed"


async def test_the_same_file_twice_in_one_request(api: Api) -> None:
    reply = await api.upload(("twice.txt", b"same"), ("twice.txt", b"same"))
    documents = reply.json()["documents"]
    assert [document["status"] for document in documents] == ["queued", "unchanged"]
    assert documents[0]["document_id"] == documents[1]["document_id"]


async def test_a_rejected_file_does_not_stop_the_others(api: Api) -> None:
    reply = await api.upload(("good.txt", b"good"), ("bad.bin", BINARY), ("empty.txt", b""))
    assert reply.status_code == 202
    good, bad, empty = reply.json()["documents"]
    assert good["status"] == "queued"
    assert (bad["status"], bad["reason"]) == ("rejected", "unsupported_media")
    assert (empty["status"], empty["document_id"], empty["job_id"]) == ("rejected", None, None)
    assert bad["message"]
    assert empty["message"]


async def test_when_all_are_rejected_the_first_ones_error_is_the_reply(api: Api) -> None:
    require_problem(await api.upload(("bad.bin", BINARY), ("empty.txt", b"")), 415)
    require_problem(await api.upload(("empty.txt", b""), ("bad.bin", BINARY)), 422)


async def test_an_empty_file_is_422(api: Api) -> None:
    require_problem(await api.upload(("empty.txt", b"")), 422)


@pytest.mark.parametrize(
    ("name", "data"),
    [("noise.bin", BINARY), ("program", b"\x7fELF\x02\x01\x01" + bytes(200)),
     ("picture.gif", b"GIF89a" + BINARY)],
)  # fmt: skip
async def test_what_is_no_document_is_415(api: Api, name: str, data: bytes) -> None:
    require_problem(await api.upload((name, data)), 415, "unsupported_media")


async def test_an_image_is_415_where_ocr_is_not_installed(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    reply = await api.upload(("scan.png", b"\x89PNG\r\n\x1a\n" + BINARY))
    problem = require_problem(reply, 415, "unsupported_media")
    assert "pip install 'citewell[ocr]'" in problem["detail"]


async def test_a_broken_pdf_fails_as_a_job_with_a_reason(api: Api) -> None:
    reply = await api.upload(("broken.pdf", b"%PDF-1.7\n" + b"garbage " * 50))
    assert reply.status_code == 202, reply.text
    (document,) = reply.json()["documents"]
    await api.work()
    job = (await api.client.get(f"/jobs/{document['job_id']}")).json()
    assert job["status"] == "failed"
    assert job["reason"]
    assert job["message"]
    detail = (await api.client.get(f"/documents/{document['document_id']}")).json()
    assert (detail["status"], detail["reason"]) == ("failed", job["reason"])


async def test_no_files_is_422(api: Api) -> None:
    require_problem(await api.client.post("/documents/upload"), 422)
    require_problem(await api.client.post("/documents/upload", data={"metadata": "{}"}), 422)
    require_problem(await api.client.post("/documents/upload", json={"files": []}), 422)
    require_problem(
        await api.client.post(
            "/documents/upload", content=b"junk",
            headers={"content-type": "multipart/form-data; boundary=x"},
        ),
        (400, 422),
    )  # fmt: skip
    require_problem(
        await api.client.post(
            "/documents/upload", content=b"junk", headers={"content-type": "multipart/form-data"}
        ),
        (400, 422),
    )


@pytest.mark.parametrize(
    "metadata",
    ["{", "[]", "1", '"text"', "null", '{"a": NaN}', '{"a": Infinity}', '{"a": 1e999}',
     '{"a": "\\u0000"}', '{"\\u0000": 1}', '{"a": "\\ud800"}', '{"a": "\\udc00x"}',
     "[" * 5000, '{"a":' * 5000 + "1" + "}" * 5000, '{"a": "' + "x" * 100_000 + '"}', "\x00"],
)  # fmt: skip
async def test_bad_metadata_is_422(api: Api, metadata: str) -> None:
    require_problem(await api.upload(("meta.txt", b"text"), metadata=metadata), 422)


@pytest.mark.parametrize(
    "metadata",
    ["{}", "", '{"a": "\\ud83d\\ude00"}', '{"a": 123456789012345678901234567890}',
     '{"a": "\\\\u0000"}'],
)  # fmt: skip
async def test_unusual_but_valid_metadata_is_taken(api: Api, metadata: str) -> None:
    reply = await api.upload((f"meta-{hash(metadata)}.txt", metadata.encode() + b"x"),
                             metadata=metadata)  # fmt: skip
    assert reply.status_code == 202, reply.text


async def test_an_unknown_collection_is_404(api: Api) -> None:
    require_problem(await api.upload(("a.txt", b"a"), collection="nowhere"), 404, "not_found")
    require_problem(await api.upload(("a.txt", b"a"), collection="a\x00b"), (404, 422))
    require_problem(await api.upload(("a.txt", b"a"), collection="x" * 5000), (404, 422))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("report.txt", "report.txt"),
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("..\\..\\windows\\win.ini", "windows/win.ini"),
        ("C:\\Users\\me\\a.txt", "Users/me/a.txt"),
        ("a\x00b.txt", "ab.txt"),
        ("a\nb\r\t.txt", "ab.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("\u2066a\u2069\u200b\ufeff.txt", "a.txt"),
        ("e\u0301.txt", "é.txt"),
        ("  spaced .txt ", "spaced .txt"),
        ("./a/./b.txt", "a/b.txt"),
        ("a//b.txt", "a/b.txt"),
        ("日本語😀.txt", "日本語😀.txt"),
        ("", ""),
        ("..", ""),
        ("/", ""),
        ("\u202e", ""),
        ("\ud800a.txt", "a.txt"),
    ],
)
def test_names_are_made_safe(given: str, expected: str) -> None:
    assert clean_name(given) == expected
    assert clean_name(clean_name(given)) == expected


@pytest.mark.parametrize(
    ("given", "name"),
    [("../../etc/passwd", "passwd"), ("..\\..\\boot.ini", "boot.ini"), ("sub/dir/a.txt", "a.txt"),
     ("bidi\u202etxt.exe", "biditxt.exe"), ("ü😀.txt", "ü😀.txt"), ("x" * 255, "x" * 255),
     ("a'; DROP TABLE documents; --.txt", "a'; DROP TABLE documents; --.txt"),
     ("%s %(x)s :y {z}.txt", "%s %(x)s :y {z}.txt")],
)  # fmt: skip
async def test_hostile_names_are_stored_tame(api: Api, given: str, name: str) -> None:
    reply = await api.upload((given, b"text in " + name.encode()))
    assert reply.status_code == 202, reply.text
    (document,) = reply.json()["documents"]
    assert document["name"] == name
    detail = (await api.client.get(f"/documents/{document['document_id']}")).json()
    assert ".." not in detail["source"].split("/")
    assert not detail["source"].startswith("/")


def _multipart(disposition: str) -> tuple[bytes, dict[str, str]]:
    body = (
        f'--x\r\nContent-Disposition: form-data; name="files"{disposition}\r\n'
        "Content-Type: text/plain\r\n\r\ntext\r\n--x--\r\n"
    )
    return body.encode(), {"content-type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize(
    "disposition",
    ["", '; filename=""', '; filename=".."', '; filename="/"', '; filename="\u202e"',
     '; filename="' + "x" * 256 + '"', '; filename="' + "x" * 300 + '.txt"',
     '; filename="' + "ü" * 300 + '.txt"'],
)  # fmt: skip
async def test_unusable_names_are_422(api: Api, disposition: str) -> None:
    body, headers = _multipart(disposition)
    require_problem(
        await api.client.post("/documents/upload", content=body, headers=headers), (400, 422)
    )


async def test_a_name_too_long_has_its_own_code(api: Api) -> None:
    require_problem(await api.upload(("x" * 296 + ".txt", b"text")), 422, "name_too_long")


async def test_a_very_long_folder_is_a_clear_answer(api: Api) -> None:
    reply = await api.upload(("folder/" * 2000 + "a.txt", b"text"))
    assert reply.status_code in {202, 400, 422}, reply.text
    if reply.status_code != 202:
        require_problem(reply, (400, 422))


async def test_a_raw_nul_in_a_name_is_harmless(api: Api) -> None:
    body, headers = _multipart('; filename="a\x00b.txt"')
    reply = await api.client.post("/documents/upload", content=body, headers=headers)
    assert reply.status_code in {202, 400, 422}
    if reply.status_code == 202:
        assert reply.json()["documents"][0]["name"] == "ab.txt"


async def test_uploads_and_deletions_of_the_same_bytes_take_turns(fresh: Api) -> None:
    same = b"The same bytes under many names."
    first = (await fresh.upload(("0.txt", same))).json()["documents"][0]["document_id"]
    for n in range(1, 12):
        uploaded, deleted = await asyncio.gather(
            fresh.upload((f"{n}.txt", same)), fresh.client.delete(f"/documents/{first}")
        )
        assert (uploaded.status_code, deleted.status_code) == (202, 204), uploaded.text
        first = uploaded.json()["documents"][0]["document_id"]
    await fresh.work()
    assert (await fresh.client.get(f"/documents/{first}")).json()["status"] == "ready"
    checks = await verify(fresh.services.database, fresh.services.blobs)
    assert [check for check in checks if check.breaches] == []


async def test_many_uploads_at_once_are_all_kept(fresh: Api) -> None:
    replies = await asyncio.gather(
        *(fresh.upload((f"{n % 5}.txt", f"text {n % 7}".encode())) for n in range(35))
    )
    assert {reply.status_code for reply in replies} == {202}
    await fresh.work()
    listed = (await fresh.client.get("/documents")).json()["documents"]
    assert [item["status"] for item in listed] == ["ready"] * 5
    checks = await verify(fresh.services.database, fresh.services.blobs)
    assert [check for check in checks if check.breaches] == []


@pytest.fixture(scope="module")
async def small(
    clone: Callable[[], Any],
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Api]:
    """An application with small limits."""
    limits = UploadSettings(max_file_bytes=1000, max_files=3, max_request_bytes=20_000)
    with clone() as url:
        settings = make_settings(url, tmp_path_factory.mktemp("data"), upload=limits)
        async with open_api(settings, ingest) as opened:
            yield opened


async def test_a_file_at_the_limit_is_taken_and_one_over_it_is_413(small: Api) -> None:
    assert (await small.upload(("fits.txt", b"x" * 1000))).status_code == 202
    require_problem(await small.upload(("over.txt", b"x" * 1001)), 413, "too_large")
    beside = await small.upload(("fits.txt", b"x" * 1000), ("over.txt", b"x" * 1001))
    assert [item["status"] for item in beside.json()["documents"]] == ["unchanged", "rejected"]


async def test_too_many_files_are_413(small: Api) -> None:
    require_problem(await small.upload(*((f"{n}.txt", b"x") for n in range(4))), 413, "too_large")


async def test_a_request_over_the_limit_is_413_when_it_says_so(small: Api) -> None:
    require_problem(await small.upload(("big.txt", b"x" * 30_000)), 413, "too_large")
    require_problem(
        await small.client.post("/query", json={"question": "x" * 30_000}), 413, "too_large"
    )


async def _in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 4096):
        yield body[start : start + 4096]


async def test_a_request_over_the_limit_is_413_when_it_does_not_say(small: Api) -> None:
    form, headers = _multipart('; filename="big.txt"')
    body = form.replace(b"text\r\n--x--", b"x" * 40_000 + b"\r\n--x--")
    reply = await small.client.post("/documents/upload", content=_in_pieces(body), headers=headers)
    assert "content-length" not in reply.request.headers
    require_problem(reply, 413, "too_large")
    question = json.dumps({"question": "x" * 40_000}).encode()
    reply = await small.client.post(
        "/query", content=_in_pieces(question), headers={"content-type": "application/json"}
    )
    require_problem(reply, 413, "too_large")


async def test_a_chunked_request_below_the_limit_is_taken(small: Api) -> None:
    body, headers = _multipart('; filename="pieces.txt"')
    reply = await small.client.post("/documents/upload", content=_in_pieces(body), headers=headers)
    assert reply.status_code == 202, reply.text


async def test_nothing_of_a_refused_upload_stays(small: Api) -> None:
    before = set(await small.services.blobs.list_hashes(-1))
    await small.upload(("over.txt", b"y" * 1001))
    await small.upload(("big.txt", b"z" * 30_000))
    await small.upload(("good.txt", b"good"), collection="nowhere")
    assert set(await small.services.blobs.list_hashes(-1)) == before


async def test_uploads_are_taken_while_the_broker_is_away(
    database_url: str,
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path: Path,
) -> None:
    settings = make_settings(database_url, tmp_path, redis_url=f"unix://:x@{tmp_path}/no.sock?db=0")
    async with open_api(settings, ingest) as away:
        reply: httpx.Response = await away.upload(("a.txt", b"A text."))
        assert reply.status_code == 202
        assert reply.json()["documents"][0]["status"] == "queued"
        assert await away.work() == 1
        assert (await away.client.get("/documents")).json()["documents"][0]["status"] == "ready"
