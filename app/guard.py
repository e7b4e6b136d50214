"""What the page's server refuses, and what it tells browsers to refuse: hosts, frames, foreign scripts, full sessions.

As middleware around Streamlit's own server, which sends none of these headers, answers any host, and keeps whatever a
session uploads until the session ends.
"""

import base64
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.uploads import MAX_ALL_BYTES, MAX_BYTES, MAX_FILES

if TYPE_CHECKING:
    from starlette.middleware import Middleware
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

THIS_MACHINE = ("localhost", "127.0.0.1")
_UPLOAD = re.compile(r"/_stcore/upload_file/([^/]+)/[^/]+$")
_INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def middleware() -> "list[Middleware]":
    """Return what every request passes first, the outermost first."""
    import streamlit
    from starlette.middleware import Middleware

    index = (Path(streamlit.__file__).parent / "static" / "index.html").read_bytes()
    return [
        Middleware(Headers, headers={"Content-Security-Policy": policy(index), **ALWAYS}),
        Middleware(_own_names),
        Middleware(UploadCeiling),
    ]


# === Hosts ===


def hosts() -> Iterator[str]:
    """Give the names that the page answers to: this machine's own, and the one that was given by `--name`.

    A site that has pointed a name of its own at this machine is none of them.
    """
    from streamlit import config

    yield from THIS_MACHINE
    name = str(config.get_option("browser.serverAddress"))
    yield f"[{name}]" if ":" in name else name


def _own_names(app: "ASGIApp") -> "ASGIApp":
    """Refuse other names than `hosts`; called when the server starts, and with it Streamlit's settings are known."""
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    own = list(hosts())
    return TrustedHostMiddleware(OwnOrigins(app, own), allowed_hosts=own, www_redirect=False)


class OwnOrigins:
    """Refuses WebSockets of pages of other sites.

    So does Streamlit, but not before it has asked a host outside by which address the world knows this machine.
    """

    def __init__(self, app: "ASGIApp", hosts: list[str]) -> None:
        self._app, self._hosts = app, {host.strip("[]").lower() for host in hosts}

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one request."""
        origin = dict(scope["headers"]).get(b"origin") if scope["type"] == "websocket" else None
        if origin is not None and _host(origin.decode("latin-1")) not in self._hosts:
            from starlette.responses import PlainTextResponse

            await PlainTextResponse("Invalid origin", 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).hostname
    except ValueError:
        return None


# === Headers ===

ALWAYS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def policy(index: bytes) -> str:
    """Return the Content-Security-Policy of a Streamlit whose first document is `index`.

    Scripts come from the server alone, but for those within `index`, which go by their hash, and the drawing of the
    wafer, which Streamlit hands to the browser as a blob. Styles have to be free: Streamlit writes them as it goes.
    """
    hashes = [base64.b64encode(hashlib.sha256(text).digest()).decode() for text in _INLINE.findall(index)]
    scripts = " ".join(f"'sha256-{text}'" for text in hashes)
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src 'self' blob: {scripts}".rstrip(),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


class Headers:
    """Sets headers of every answer."""

    def __init__(self, app: "ASGIApp", headers: dict[str, str]) -> None:
        self._app, self._headers = app, headers

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one request."""
        from starlette.datastructures import MutableHeaders

        async def with_headers(message: "Message") -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


# === Uploads ===


class UploadCeiling:
    """Refuses the upload with which a session would hold more than `read_uploads` takes, and one file.

    Streamlit keeps every upload in memory from its arrival on, before the page runs. The one file more is for the page,
    which then says what it left out.
    """

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app
        self._coming: dict[str, list[int]] = defaultdict(list)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one request."""
        found = _UPLOAD.search(scope["path"]) if scope["type"] == "http" and scope["method"] == "PUT" else None
        if not found:
            await self._app(scope, receive, send)
            return
        session, size = found[1], _size(scope)
        coming = self._coming[session]
        sizes = [*held(session), *coming]
        if len(sizes) > MAX_FILES or sum(sizes) + size > MAX_ALL_BYTES + MAX_BYTES:
            from starlette.responses import PlainTextResponse

            words = f"no room: expected at most {MAX_FILES} files and {MAX_ALL_BYTES // 2**20} MB in a session."
            await PlainTextResponse(f"{words} Remove some, or reload the page.", 413)(scope, receive, send)
            return
        coming.append(size)
        try:
            await self._app(scope, receive, send)
        finally:
            coming.remove(size)
            if not coming:
                self._coming.pop(session, None)


def held(session: str) -> list[int]:
    """Return the sizes of the files that Streamlit holds of a session, in bytes."""
    from streamlit.runtime import Runtime

    files = Runtime.instance().uploaded_file_mgr.file_storage.get(session, {})  # type: ignore[attr-defined]
    return [len(file.data) for file in list(files.values())]


def _size(scope: "Scope") -> int:
    """Return how many bytes an upload brings; where it does not say so, the most it may."""
    length = dict(scope["headers"]).get(b"content-length", b"")
    return int(length) if length.isdigit() and len(length) < 16 else MAX_BYTES
