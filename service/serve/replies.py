"""Sending a reply over ASGI. Knows the messages; does not know what is in them."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Send

JSON = (b"content-type", b"application/json")


async def send_reply(
    send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes
) -> None:
    """Send one whole reply."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
