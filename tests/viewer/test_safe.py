# SPDX-License-Identifier: Apache-2.0
"""The door of the live viewer: one test for each line of what it refuses and grants."""

from __future__ import annotations

import http.client
import importlib
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from sparse3d.errors import BackendError, UsageError

viser = pytest.importorskip("viser", reason="viser is not installed")
pytest.importorskip("websockets.sync.client", reason="websockets is not installed")
pytestmark = pytest.mark.skipif(
    not str(getattr(viser, "__version__", "")).startswith("1.1"), reason="viser is not of the release 1.1"
)

safe = importlib.import_module("sparse3d.viewer.safe")
door = importlib.import_module("sparse3d.viewer.door")
client = importlib.import_module("websockets.sync.client")
exceptions = importlib.import_module("websockets.exceptions")


@pytest.fixture(scope="module")
def served() -> Iterator[Any]:
    started = safe.start(limits=safe.Limits(message_bytes=4096, messages_a_second=50, browsers=2))
    yield started
    started.stop()


def ask(served: Any, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    line = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    line.request("GET", path, headers=headers)
    answer = line.getresponse()
    body = answer.read()
    line.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def cookie(served: Any) -> str:
    return f"sparse3d_viewer_{served.port}={served.token}"


def connect(served: Any, *, origin: str | None = "own", path: str = "/", protocol: str = "own", **headers: str) -> Any:
    own = f"http://127.0.0.1:{served.port}"
    headers.setdefault("Cookie", cookie(served))
    version = f"viser-v{viser.__version__}" if protocol == "own" else protocol
    return client.connect(
        f"ws://127.0.0.1:{served.port}{path}",
        origin=own if origin == "own" else origin,
        additional_headers=headers,
        subprotocols=[version],
        open_timeout=20,
        max_size=None,
        compression=None,
        proxy=None,
    )


def status_of_refusal(served: Any, **how: Any) -> int:
    with pytest.raises(exceptions.InvalidStatus) as caught:
        connect(served, **how)
    return caught.value.response.status_code


def test_listens_on_this_machine_only(served: Any) -> None:
    own = safe._lan_addresses()
    if not own:
        pytest.skip("this machine has no address beside its loopback")
    with pytest.raises(OSError):
        socket.create_connection((own[0], served.port), timeout=5).close()


def test_share_lan_is_reached_by_the_network_address() -> None:
    own = safe._lan_addresses()
    if not own:
        pytest.skip("this machine has no address beside its loopback")
    shared = safe.start(share_lan=True)
    try:
        assert shared.lan_addresses[0].startswith(f"http://{own[0]}:{shared.port}/?token=")
        line = http.client.HTTPConnection(own[0], shared.port, timeout=20)
        line.request("GET", f"/?token={shared.token}")
        assert line.getresponse().status == 303
        line.close()
    finally:
        shared.stop()


def test_token_gives_a_cookie_and_a_clean_address(served: Any) -> None:
    status, headers, _ = ask(served, f"/?token={served.token}")
    assert (status, headers["location"]) == (303, "/")
    assert headers["set-cookie"] == f"{cookie(served)}; HttpOnly; SameSite=Strict; Path=/"


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {}),
        ("/?token=", {}),
        ("/?token=wrong", {}),
        ("/?token={token}x", {}),
        ("/{token}", {}),
        ("/?a=1&token={token}", {}),
        ("/", {"Authorization": "Bearer {token}"}),
        ("/", {"Cookie": "sparse3d_viewer_1={token}"}),
        ("/", {"Cookie": "sparse3d_viewer_{port}=wrong"}),
        ("/index.html", {}),
    ],
)
def test_without_the_token_in_its_place_nothing_is_given(served: Any, path: str, headers: dict[str, str]) -> None:
    known = {"token": served.token, "port": served.port}
    status, _, body = ask(served, path.format(**known), **{k: v.format(**known) for k, v in headers.items()})
    assert status == 403
    assert b"token" in body
    assert served.token.encode() not in body


def test_page_with_the_cookie_and_its_policy(served: Any) -> None:
    status, headers, body = ask(served, "/", Cookie=cookie(served))
    assert status == 200
    assert b"<!doctype html" in body[:200].lower()
    policy = headers["content-security-policy"]
    for rule in ("default-src 'none'", "connect-src 'self' data: blob:", "frame-ancestors 'none'"):
        assert rule in policy
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("query", ["?websocket=ws://127.0.0.1:1", "?x=1", "?"])
def test_page_with_any_query_is_refused(served: Any, query: str) -> None:
    assert ask(served, f"/{query}", Cookie=cookie(served))[0] == 400


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", ""])
def test_wrong_host_is_refused(served: Any, host: str) -> None:
    assert ask(served, "/", Cookie=cookie(served), Host=host.format(port=served.port))[0] == 421


def test_own_page_may_connect(served: Any) -> None:
    with connect(served) as line:
        assert len(line.recv(timeout=20)) > 0


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null", "http://localhost:{port}"])
def test_foreign_or_missing_origin_is_refused(served: Any, origin: str | None) -> None:
    assert status_of_refusal(served, origin=None if origin is None else origin.format(port=served.port)) == 403


def test_socket_without_the_cookie_is_refused(served: Any) -> None:
    assert status_of_refusal(served, Cookie="none=1") == 403
    assert status_of_refusal(served, Cookie="none=1", path=f"/?token={served.token}") == 403


def test_socket_elsewhere_or_of_another_version_is_refused(served: Any) -> None:
    assert status_of_refusal(served, path="/other") == 404
    assert status_of_refusal(served, protocol="viser-v0.2.7") == 400


def test_a_header_given_twice_is_refused() -> None:
    headers = importlib.import_module("websockets.datastructures").Headers()
    headers["Host"] = "127.0.0.1:7"
    headers["Upgrade"] = "websocket"
    headers["Origin"] = "http://127.0.0.1:7"
    headers["Origin"] = "http://evil.example"
    answer = door.Door("t", 7, ("127.0.0.1",), "viser-v1").answer(SimpleNamespace(headers=headers, path="/"))
    assert answer is not None
    assert answer.status_code == 400


def until_closed(line: Any) -> int:
    """Reads until the server ends the connection, and gives its code; TimeoutError where it does not."""
    while True:
        try:
            line.recv(timeout=20)
        except exceptions.ConnectionClosed:
            return line.close_code


def test_message_too_large_ends_the_browser(served: Any) -> None:
    with connect(served) as line:
        line.send(b"x" * 5000)
        assert until_closed(line) == 1009


@pytest.mark.parametrize("nonsense", [b"\xc1nonsense", "text"])
def test_nonsense_ends_that_browser_and_no_other(served: Any, nonsense: Any, capfd: Any) -> None:
    with connect(served) as steady, connect(served) as line:
        line.send(nonsense)
        assert until_closed(line) == 1002
        assert len(steady.recv(timeout=20)) > 0
    assert ask(served, "/", Cookie=cookie(served))[0] == 200
    assert capfd.readouterr() == ("", "")


def test_flood_ends_the_browser(served: Any) -> None:
    packed = importlib.import_module("msgspec.msgpack").encode({"type": "ShareUrlDisconnect"})
    with connect(served) as line:
        try:
            for _ in range(2000):
                line.send(packed)
        except exceptions.ConnectionClosed:
            pass
        assert until_closed(line) == 1008


def test_more_browsers_than_allowed_are_sent_away(served: Any) -> None:
    with connect(served), connect(served):
        time.sleep(0.5)
        with connect(served) as third:
            assert until_closed(third) == 1013


def test_share_tunnel_is_never_opened(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(importlib.import_module("viser._viser"), "ViserTunnel", lambda *words: opened.append(words))
    packed = importlib.import_module("msgspec.msgpack").encode({"type": "ShareUrlRequest"})
    with connect(served) as line:
        line.recv(timeout=20)
        line.send(packed)
        time.sleep(1.0)
    assert served.server.request_share_url() is None
    assert opened == []


@pytest.mark.parametrize(
    ("version", "state"), [("0.2.7", "older"), (None, "older"), ("1.2.0", "newer"), ("2.0", "newer")]
)
def test_other_viser_does_not_start(monkeypatch: pytest.MonkeyPatch, version: str | None, state: str) -> None:
    monkeypatch.setattr(viser, "__version__", version)
    with pytest.raises(BackendError, match=f"{state}; install it with: pip install"):
        safe.start()


def test_viser_that_starts_another_way_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = []

    class Other:
        def __init__(self, **_: Any) -> None: ...

        def stop(self) -> None:
            stopped.append(True)

    monkeypatch.setattr(viser, "ViserServer", Other)
    with pytest.raises(BackendError, match="nothing was started"):
        safe.start()
    assert stopped == [True]


def test_port_that_is_taken_is_one_sentence(served: Any) -> None:
    with pytest.raises(UsageError, match="cannot be had"):
        safe.start(port=served.port)
    with pytest.raises(UsageError, match="cannot be had"):
        safe.start(port=70000)


def test_start_and_stop_print_nothing_and_free_the_port(capfd: Any) -> None:
    started = safe.start()
    started.stop()
    assert capfd.readouterr() == ("", "")
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", started.port), timeout=5).close()
