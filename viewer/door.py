# SPDX-License-Identifier: Apache-2.0
"""Which requests the viewer answers: those with the token, by an address of its own, from its own page."""

from __future__ import annotations

import hmac
import http
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from websockets.datastructures import Headers, MultipleValuesError
from websockets.http11 import Response

# viser's page is one document with its script inside; its sorter of splats compiles WebAssembly and uses eval. A page
# that is told to obey another server (?websocket=) cannot reach it.
POLICY = "; ".join([
    "default-src 'none'",
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' blob: data:",
    "worker-src 'self' blob: data:",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "media-src 'self' data: blob:",
    "connect-src 'self' data: blob:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
])  # fmt: skip
_ALWAYS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_ASK_TERMINAL = "open the whole address that the terminal shows, with its token"


@dataclass(frozen=True)
class Door:
    """token: what the printed address carries. names: hosts that the page may be opened by. subprotocol: viser's."""

    token: str
    port: int
    names: tuple[str, ...]
    subprotocol: str

    @property
    def cookie(self) -> str:
        """The cookie's name; it has the port, because cookies do not tell ports apart."""
        return f"sparse3d_viewer_{self.port}"

    def before(self, inner: Callable[[Any, Any], Any] | None) -> Callable[[Any, Any], Any]:
        """`process_request` of websockets: the door first, then viser's own."""

        def process(connection: Any, request: Any) -> Any:
            refused = self.answer(request)
            if refused is not None:
                return refused
            answer = None if inner is None else inner(connection, request)
            return None if answer is None else _with_headers(answer)

        return process

    def answer(self, request: Any) -> Response | None:
        """What the door answers itself; None for a request that may pass."""
        try:
            host = request.headers.get("Host", "")
            if host not in {f"{name}:{self.port}" for name in self.names}:
                return _refuse(http.HTTPStatus.MISDIRECTED_REQUEST, "this address is not the viewer's")
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return self._answer_socket(request, host)
            return self._answer_page(request)
        except MultipleValuesError:
            return _refuse(http.HTTPStatus.BAD_REQUEST, "a header is given twice")

    def _answer_socket(self, request: Any, host: str) -> Response | None:
        if request.headers.get("Origin") != f"http://{host}":
            return _refuse(http.HTTPStatus.FORBIDDEN, "only the viewer's own page may connect")
        if not self._has_cookie(request):
            return _refuse(http.HTTPStatus.FORBIDDEN, _ASK_TERMINAL)
        if request.path != "/":
            return _refuse(http.HTTPStatus.NOT_FOUND, "there is nothing at this address")
        offered = {word.strip() for word in request.headers.get("Sec-WebSocket-Protocol", "").split(",")}
        if self.subprotocol not in offered:
            return _refuse(http.HTTPStatus.BAD_REQUEST, "the page is of another version; load it again")
        return None

    def _answer_page(self, request: Any) -> Response | None:
        path, _, query = request.path.partition("?")
        if path == "/" and query.startswith("token="):
            if _same(query.removeprefix("token="), self.token):
                return self._let_in()
            return _refuse(http.HTTPStatus.FORBIDDEN, _ASK_TERMINAL)
        if not self._has_cookie(request):
            return _refuse(http.HTTPStatus.FORBIDDEN, _ASK_TERMINAL)
        if query or "?" in request.path:
            return _refuse(http.HTTPStatus.BAD_REQUEST, "the address may hold nothing after the slash")
        return None

    def _let_in(self) -> Response:
        cookie = f"{self.cookie}={self.token}; HttpOnly; SameSite=Strict; Path=/"
        headers = Headers({"Location": "/", "Set-Cookie": cookie, "Content-Length": "0", **_ALWAYS})
        return Response(http.HTTPStatus.SEE_OTHER, "See Other", headers)

    def _has_cookie(self, request: Any) -> bool:
        crumbs = (crumb.strip().partition("=") for crumb in request.headers.get("Cookie", "").split(";"))
        return any(name == self.cookie and _same(value, self.token) for name, _, value in crumbs)


def _same(given: str, token: str) -> bool:
    """Compared in constant time, so that the time taken tells nothing of the token."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())


def _refuse(status: http.HTTPStatus, sentence: str) -> Response:
    body = f"{sentence[0].upper()}{sentence[1:]}.\n".encode()
    headers = Headers({"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body)), **_ALWAYS})
    return Response(status, status.phrase, headers, body)


def _with_headers(answer: Response) -> Response:
    for name, value in _ALWAYS.items():
        if name in answer.headers:
            del answer.headers[name]
        answer.headers[name] = value
    return answer
