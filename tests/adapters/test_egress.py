"""The one way out: what it refuses, where it connects, and what it reads of a reply."""

import asyncio
import ssl
import subprocess
import threading
import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from adapters.receivers import Answer, Request, receiver
from citewell.adapters.addresses import may_call
from citewell.adapters.egress import CheckedEgress
from citewell.errors import AccessError, RemoteFailed, Unprocessable
from citewell.ports import RemoteReply


class Names:
    """A resolver that answers in turn, and counts how often it is asked."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(host)
        if not answer:
            raise OSError("unknown name")
        return answer


async def post(
    egress: CheckedEgress, url: str, deadline: float = 5, most: int = 65536
) -> RemoteReply:
    return await egress.send(
        url, {"X-Test": "1"}, b"body", deadline_seconds=deadline, most_reply_bytes=most
    )


def loopback(*answers: list[str], tls: ssl.SSLContext | None = None) -> CheckedEgress:
    return CheckedEgress(True, True, Names(*(answers or (["127.0.0.1"],))), tls)


HOSTILE = [
    "http://hooks.example/",  # not encrypted
    "ftp://hooks.example/", "file:///etc/passwd", "gopher://hooks.example/", "//hooks.example/",
    "hooks.example", "https:///path", "https://", "https:hooks.example", "javascript:alert(1)",
    "unix:///run/valkey.sock", "https://hooks.example:0/", "https://hooks.example:99999/",
    "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f000001/",
    "https://0x7f.0.0.1/", "https://0177.0.0.1/", "https://017700000001/", "https://127.0.0.01/",
    "https://0/", "https://0.0.0.0/", "https://127.0.0.1./", "https://0x/", "https://1.2.3.4.5/",
    "https://10.1.2.3/", "https://172.16.0.1/", "https://192.168.1.1/", "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data", "https://100.100.100.200/", "https://192.0.0.192/",
    "https://168.63.129.16/", "https://224.0.0.1/", "https://240.0.0.1/", "https://255.255.255.255/",
    "https://[::1]/", "https://[::]/", "https://[0:0:0:0:0:0:0:1]/", "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/", "https://[::ffff:8.8.8.8]/", "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/", "https://[64:ff9b::808:808]/", "https://[64:ff9b:1::a00:1]/",
    "https://[2002:7f00:1::]/", "https://[2001:0:7f00:1::]/", "https://[fe80::1]/",
    "https://[fe80::1%25lo]/", "https://[fc00::1]/", "https://[fd00:ec2::254]/", "https://[ff02::1]/",
    "https://[fec0::1]/", "https://[100::1]/", "https://[2001:db8::1]/", "https://[3fff::1]/",
    "https://[5f00::1]/", "https://[::1", "https://[127.0.0.1]/",
    "https://user@8.8.8.8/", "https://user:pw@8.8.8.8/", "https://@8.8.8.8/",
    "https://8.8.8.8@127.0.0.1/", "https://8.8.8.8:443@127.0.0.1/", "https://8.8.8.8\\@127.0.0.1/",
    "https:\\\\127.0.0.1\\", "https://8.8.8.8#@127.0.0.1:\\/", "https://8.8.8.8%2f@127.0.0.1/",
    "https://127.0.0.1%2f.hooks.example/", "https://%31%32%37.0.0.1/", "https://hooks%2eexample/",
    "https://１２７.0.0.1/", "https://127。0。0。1/", "https://ⓔxample.com/", "https://hooks.examplé/",
    "https://hooks.example\u200b/", "https://hooks.example/\r\nHost: x", "https://hooks.example/\0",
    " https://hooks.example/", "https://hooks.example/ x", "https://hooks .example/",
    "https://hooks.example\t/", "https://-hooks.example/", "https://hooks..example/",
    "https://" + "a" * 64 + ".example/", "https://hooks.example/" + "a" * 2000, "",
]  # fmt: skip


@pytest.mark.parametrize("url", HOSTILE)
async def test_hostile_urls_are_refused(url: str) -> None:
    names = Names(["8.8.8.8"])
    egress = CheckedEgress(True, False, names)
    with pytest.raises(Unprocessable) as refused:
        await egress.check(url)
    assert refused.value.reason == "url_refused"
    with pytest.raises(Unprocessable):
        await post(egress, url)
    assert names.asked == [], "what was refused is not even resolved"


@pytest.mark.parametrize(
    "url",
    ["https://8.8.8.8/", "https://[2606:4700::1111]/", "https://hooks.example:8443/a?b=c#d",
     "HTTPS://Hooks.Example/", "https://hooks.example./", "https://xn--hks-1na.example/@x",
     "https://a_b.hooks.example/%2e%2e/", "https://1a.example/", "https://hooks.example/?u=http://127.0.0.1@x"],
)  # fmt: skip
async def test_public_urls_are_allowed(url: str) -> None:
    await CheckedEgress(True, False, Names(["8.8.8.8", "2606:4700::1111"])).check(url)


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["169.254.169.254"], ["::1"],
     ["fe80::1%lo"], ["::ffff:10.0.0.1"], ["64:ff9b::a00:1"], ["0.0.0.0"],
     ["2606:4700::1111", "fd00::1"], ["nonsense"], []],
    ids=str,
)  # fmt: skip
async def test_a_name_with_one_private_address_is_refused(addresses: list[str]) -> None:
    egress = CheckedEgress(True, False, Names(addresses))
    with pytest.raises(Unprocessable) as checked:
        await egress.check("https://hooks.example/")
    with pytest.raises(Unprocessable) as sent:
        await post(egress, "https://hooks.example/")
    unknown = CheckedEgress(True, False, Names([]))
    with pytest.raises(Unprocessable) as missing:
        await unknown.check("https://hooks.example/")
    assert checked.value.message == sent.value.message == missing.value.message, (
        "the reply must not tell which names there are inside"
    )


async def test_an_intranet_still_has_no_metadata_and_no_transition_addresses() -> None:
    for written in ("10.0.0.1", "127.0.0.1", "192.168.0.1", "fd12::1", "::1", "8.8.8.8"):
        assert may_call(ip_address(written), allow_private=True)
    never = ("169.254.169.254", "fd00:ec2::254", "0.0.0.0", "::", "224.0.0.1", "fe80::1",
             "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "255.255.255.255")  # fmt: skip
    for written in never:
        assert not may_call(ip_address(written), allow_private=True), written


async def test_off_means_off() -> None:
    egress = CheckedEgress(False, True, Names(["127.0.0.1"]))
    for call in (egress.check("https://hooks.example/"), post(egress, "https://hooks.example/")):
        with pytest.raises(AccessError, match="CITEWELL_EGRESS__ENABLED"):
            await call


async def test_the_address_that_was_checked_is_the_one_that_is_called() -> None:
    async with receiver() as got:
        names = Names(["127.0.0.1"], ["10.0.0.1"])  # the second answer would lead elsewhere
        egress = CheckedEgress(True, True, names)
        reply = await post(egress, f"http://hooks.example:{got.port}/a%20b?c=d#e")
    assert reply == RemoteReply(200, b"ok", cut=False)
    assert names.asked == ["hooks.example"]
    (request,) = got.requests
    assert (request.method, request.target, request.body) == ("POST", "/a%20b?c=d", b"body")
    assert request.headers["host"] == f"hooks.example:{got.port}"
    assert request.headers["x-test"] == "1"


async def test_rebinding_between_check_and_send_is_seen() -> None:
    egress = CheckedEgress(True, False, Names(["8.8.8.8"], ["127.0.0.1"]))
    await egress.check("https://hooks.example/")
    with pytest.raises(Unprocessable):
        await post(egress, "https://hooks.example/")


async def test_the_next_address_is_tried_when_one_takes_no_connection() -> None:
    async with receiver() as got:
        reply = await post(loopback(["::1", "127.0.0.1"]), f"http://hooks.example:{got.port}/")
    assert reply.status == 200
    assert len(got.requests) == 1


async def test_ipv6() -> None:
    async with receiver(host="::1") as got:
        assert (await post(loopback(), f"http://[::1]:{got.port}/")).status == 200
    assert got.requests[0].headers["host"] == f"[::1]:{got.port}"


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver() as proxy, receiver() as got:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert (await post(loopback(), f"http://hooks.example:{got.port}/")).status == 200
    assert proxy.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_replies(status: int) -> None:
    async with receiver() as inside:
        moved = f"HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:{inside.port}/\r\n"
        async with receiver(moved.encode() + b"Content-Length: 0\r\n\r\n") as got:
            reply = await post(loopback(), f"http://hooks.example:{got.port}/")
    assert reply.status == status
    assert inside.requests == []


async def drip_head(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(1000):
        writer.write(b"X-%d: 1\r\n" % number)
        await writer.drain()
        await asyncio.sleep(0.05)


async def drip_body(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def only_interim(request: Request, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def silence(request: Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


@pytest.mark.parametrize("answer", [drip_head, drip_body, only_interim, silence])
async def test_a_slow_reply_ends_at_the_deadline(answer: Answer) -> None:
    async with receiver(answer) as got:
        started = time.monotonic()
        with pytest.raises(RemoteFailed, match=r"0\.5 seconds"):
            await post(loopback(), f"http://hooks.example:{got.port}/", deadline=0.5)
        assert time.monotonic() - started < 1.5


async def test_a_name_that_resolves_slowly_ends_at_the_deadline() -> None:
    async def slow(host: str, port: int) -> list[str]:
        await asyncio.sleep(30)
        return []

    with pytest.raises(RemoteFailed, match=r"0\.2 seconds"):
        await post(CheckedEgress(True, True, slow), "http://hooks.example/", deadline=0.2)


async def test_a_name_server_that_is_silent_takes_one_thread_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    release = threading.Event()

    def silent(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        release.wait(20)
        return []

    egress = CheckedEgress(True, True)
    with monkeypatch.context() as patch:
        patch.setattr("citewell.adapters.egress.socket.getaddrinfo", silent)
        try:
            ends = await asyncio.gather(
                *(post(egress, "http://slow.example/", deadline=0.3) for _ in range(20)),
                *(post(egress, f"http://{n}.slow.example/", deadline=0.3) for n in "abab"),
                return_exceptions=True,
            )
            assert all(isinstance(end, RemoteFailed) for end in ends)
            with pytest.raises(RemoteFailed):
                await post(egress, "http://slow.example/", deadline=0.1)
            assert sorted(asked) == ["a.slow.example", "b.slow.example", "slow.example"]
            assert await asyncio.to_thread(lambda: "free") == "free"
        finally:
            release.set()


async def test_a_check_ends_although_no_name_server_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = threading.Event()

    def silent(*_: object, **__: object) -> list[object]:
        release.wait(20)
        return []

    monkeypatch.setattr("citewell.adapters.egress.RESOLVE_SECONDS", 0.2)
    monkeypatch.setattr("citewell.adapters.egress.MOST_NAMES", 10)
    egress = CheckedEgress(True, False)
    with monkeypatch.context() as patch:
        patch.setattr("citewell.adapters.egress.socket.getaddrinfo", silent)
        try:
            names = [f"https://{number}.slow.example/" for number in range(20)]
            started = time.monotonic()
            ends = await asyncio.gather(*map(egress.check, names), return_exceptions=True)
            assert time.monotonic() - started < 2
            assert all(isinstance(end, Unprocessable) for end in ends)
        finally:
            release.set()


async def test_the_systems_resolver() -> None:
    async with receiver() as got:
        reply = await post(CheckedEgress(True, True), f"http://localhost:{got.port}/")
        assert reply.status == 200
    with pytest.raises(Unprocessable):
        await CheckedEgress(True, False).check("https://localhost/")


async def test_of_a_huge_reply_only_the_beginning_is_read() -> None:
    sent = 0

    async def huge(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(10_000):
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    async with receiver(huge) as got:
        url = f"http://hooks.example:{got.port}/"
        assert await post(loopback(), url) == RemoteReply(200, b"x" * 65536, cut=True)
        assert await post(loopback(), url, most=0) == RemoteReply(200, b"", cut=False)
    assert sent < 50_000_000


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nxx",
     b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000 + b"\r\n\r\n"],
    ids=["nothing", "not HTTP", "cut off", "huge head"],
)  # fmt: skip
async def test_a_broken_reply_is_a_failure(answer: bytes) -> None:
    async with receiver(answer) as got:
        with pytest.raises(RemoteFailed):
            await post(loopback(), f"http://hooks.example:{got.port}/")


async def test_a_compressed_reply_is_not_unpacked() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n"
    async with receiver(head + b"\x1f\x8b\x08") as got:
        reply = await post(loopback(), f"http://hooks.example:{got.port}/")
    assert reply.body == b"\x1f\x8b\x08"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for hooks.example that signs itself."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=hooks.example", "-keyout", "key.pem",
         "-out", "cert.pem", "-addext", "subjectAltName=DNS:hooks.example"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.mark.parametrize(
    ("host", "trusted", "works"),
    [("hooks.example", True, True), ("hooks.example.", True, True), ("other.example", True, False),
     ("127.0.0.1", True, False), ("hooks.example", False, False)],
)  # fmt: skip
async def test_the_certificate_is_checked_against_the_name(
    certificate: Path, host: str, trusted: bool, works: bool
) -> None:
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    asked: list[str | None] = []
    own.sni_callback = lambda _, name, __: asked.append(name)
    trust = ssl.create_default_context(cafile=certificate / "cert.pem") if trusted else None
    async with receiver(tls=own) as got:
        call = post(loopback(tls=trust), f"https://{host}:{got.port}/")
        if works:
            assert (await call).status == 200
            assert got.requests[0].headers["host"] == f"{host}:{got.port}"
        else:
            with pytest.raises(RemoteFailed, match="certificate"):
                await call
            assert got.requests == []
    assert asked == [None if host[0] == "1" else host.removesuffix(".")]
