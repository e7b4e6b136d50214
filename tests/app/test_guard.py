"""The page's server: which hosts and uploads it refuses, and which headers every answer bears."""

import asyncio
import base64
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from streamlit import config
from streamlit.runtime import Runtime
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec
from streamlit.web.server.app_discovery import discover_asgi_app

from app import guard
from app.uploads import MAX_ALL_BYTES, MAX_BYTES, MAX_FILES
from tests import ROOT

UPLOAD = "/_stcore/upload_file/session/file"


def ask(app: Any, path: str = "/", *, kind: str = "http", **headers: str) -> tuple[int, dict[str, str]]:
    """Send one request past the server; return status and headers of the answer."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": kind,
        "method": "PUT" if path == UPLOAD else "GET",
        "path": path,
        "query_string": b"",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        "extensions": {"websocket.http.response": {}},
    }
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Starlette:
    """A server of one word behind the guard."""
    monkeypatch.setattr(guard, "held", lambda session: [])

    async def word(request: object) -> PlainTextResponse:
        return PlainTextResponse("served")

    routes = [Route("/", word), Route("/_stcore/upload_file/{session}/{file}", word, methods=["PUT"])]
    return Starlette(routes=routes, middleware=guard.middleware())


def test_streamlit_takes_the_guard_in() -> None:
    found = discover_asgi_app(ROOT / "app" / "server.py")
    assert (found.is_asgi_app, found.import_string) == (True, "server:app")


# === Hosts ===


@pytest.mark.parametrize("host", ["localhost", "localhost:8501", "127.0.0.1:8501", "LocalHost"])
def test_this_machine_is_answered(host: str, app: Starlette) -> None:
    assert ask(app, host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8501", "localhost.evil.example", "192.0.2.7", ""])
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_name_that_was_pointed_at_this_machine_is_refused(host: str, kind: str, app: Starlette) -> None:
    assert ask(app, kind=kind, host=host)[0] == 400


def test_a_refusal_bears_the_headers_too(app: Starlette) -> None:
    assert ask(app, host="evil.example")[1]["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:8501", None),
        ("https://127.0.0.1", None),
        ("http://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("null", 403),
        ("http://[", 403),
    ],
)
def test_a_page_of_another_site_gets_no_socket(origin: str, status: int | None) -> None:
    reached = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)
        await send({"type": "websocket.accept", "status": None, "headers": []})

    assert ask(guard._own_names(inner), kind="websocket", host="localhost", origin=origin)[0] == status
    assert bool(reached) is (status is None), "Streamlit would ask a host outside"


@pytest.mark.parametrize(
    ("name", "more"),
    [("localhost", "localhost"), ("wafers.example", "wafers.example"), ("2001:db8::7", "[2001:db8::7]")],
)
def test_the_name_it_was_given_is_its_own(name: str, more: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "get_option", {"browser.serverAddress": name}.__getitem__)
    assert list(guard.hosts()) == ["localhost", "127.0.0.1", more]


# === Headers ===


def test_every_answer_forbids_frames_sniffing_and_foreign_scripts(app: Starlette) -> None:
    _, headers = ask(app, host="localhost")
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    rules = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert rules["connect-src"] == "'self'"
    index = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    inline = index.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
    assert rules["script-src"].split() == ["'self'", "blob:", f"'sha256-{digest}'"]


def test_a_document_without_scripts_of_its_own_needs_no_hash() -> None:
    assert "script-src 'self' blob:; " in guard.policy(b"<html></html>")


# === Uploads ===


@pytest.mark.parametrize(
    ("sizes", "length", "status"),
    [
        ([], str(MAX_BYTES), 200),
        ([MAX_BYTES] * 32, str(MAX_BYTES), 200),  # one more than is read: the page says so
        ([MAX_BYTES] * 33, "1", 413),
        ([MAX_ALL_BYTES], str(MAX_BYTES + 1), 413),
        ([MAX_ALL_BYTES + 1], "", 413),  # who does not say how much it is may bring the most
        ([MAX_ALL_BYTES + 1], "none", 413),
        ([1] * MAX_FILES, "1", 200),
        ([1] * (MAX_FILES + 1), "1", 413),
    ],
)
def test_a_session_holds_what_is_read_and_one_file_more(
    sizes: list[int], length: str, status: int, app: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "held", lambda session: sizes if session == "session" else [])
    assert ask(app, UPLOAD, host="localhost", content_length=length)[0] == status


def test_uploads_that_are_still_coming_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "held", lambda session: [])
    statuses: list[int] = []

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(100):  # longer than it takes all others to begin
            await asyncio.sleep(0)

    async def send(message: dict[str, Any]) -> None:
        statuses.append(message.get("status", 0))

    async def many() -> None:
        ceiling = guard.UploadCeiling(slow)
        scope = {"type": "http", "method": "PUT", "path": UPLOAD, "headers": [(b"content-length", b"%d" % MAX_BYTES)]}
        await asyncio.gather(*(ceiling(scope, None, send) for _ in range(34)))  # type: ignore[arg-type]
        assert not ceiling._coming

    asyncio.run(many())
    assert statuses.count(413) == 1


def test_what_a_session_holds_is_streamlits_own_count(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = MemoryUploadedFileManager("/upload")
    monkeypatch.setattr(Runtime, "instance", lambda: SimpleNamespace(uploaded_file_mgr=manager))
    assert guard.held("session") == []
    for name, size in (("a", 3), ("b", 5)):
        manager.add_file("session", UploadedFileRec(name, name, "", b"x" * size))
    assert guard.held("session") == [3, 5]
    assert guard.held("another") == []
