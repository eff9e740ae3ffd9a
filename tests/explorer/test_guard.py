"""Attacks on the local page: each is refused before anything is done."""

import asyncio
from typing import Any

import pytest

from deo.explorer.guard import LARGEST_BODY, Guard

HOST, TOKEN = "127.0.0.1:4000", "secret"


class Answer:
    """What an application sent."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {key.decode(): value.decode() for key, value in message["headers"]}
        else:
            self.body += message.get("body", b"")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    message = await receive()
    assert not message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"got " + message["body"]})


def ask(
    path: str = "/api/state", *, parts: tuple[bytes, ...] = (b"",), framed: bool = False,
    **headers: str,
) -> Answer:  # fmt: skip
    given = {"host": HOST, "x-deo-token": TOKEN} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    scope = {
        "type": "http", "path": path, "method": "POST",
        "headers": [(name.encode(), value.encode()) for name, value in given.items() if value],
    }  # fmt: skip
    messages = [
        {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
        for number, part in enumerate(parts)
    ]
    answer, sent = Answer(), iter(messages)

    async def receive() -> Any:
        return next(sent)

    guard = Guard(echo, hosts=[HOST, "localhost:4000"], token=TOKEN, framed=framed)
    asyncio.run(guard(scope, receive, answer.send))
    return answer


def test_guard__lets_the_page_through_with_its_body_in_parts() -> None:
    answer = ask(parts=(b"a", b"b"), origin=f"http://{HOST}", sec_fetch_site="same-origin")
    assert (answer.status, answer.body) == (200, b"got ab")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x_deo_token": ""}, 403),
        ({"x_deo_token": "wrong"}, 403),
        ({"x_deo_token": "sécret"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:4001"}, 403),
        ({"origin": "http://localhost:4000"}, 403),  # not the host that was asked
        ({"origin": f"https://{HOST}"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"host": "evil.example"}, 421),
        ({"host": "evil.example:4000"}, 421),
        ({"host": "127.0.0.1"}, 421),
        ({"host": ""}, 421),
    ],
)
def test_guard__refuses_what_comes_from_elsewhere(headers: dict[str, str], status: int) -> None:
    answer = ask(**headers)
    assert answer.status == status
    assert b"got" not in answer.body
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("parts", [(b"x" * (LARGEST_BODY + 1),), (b"x" * 5000,) * 5])
def test_guard__refuses_large_bodies(parts: tuple[bytes, ...]) -> None:
    assert ask(parts=parts).status == 413


def test_guard__serves_the_page_itself_without_a_token_to_its_host_alone() -> None:
    assert ask("/", x_deo_token="").status == 200
    assert ask("/", x_deo_token="", sec_fetch_site="cross-site").status == 200  # a link to it
    assert ask("/", x_deo_token="", host="evil.example").status == 421


def test_guard__says_what_the_page_may_do() -> None:
    headers = ask("/").headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors" not in ask("/", framed=True).headers["content-security-policy"]
