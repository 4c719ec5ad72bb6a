"""service.client against servers that misbehave: what is asked again, and what is not."""

from __future__ import annotations

import time

import pytest

from service.client import ClientError, NotInTime, Problem, Unreachable
from tests.client.conftest import Make
from tests.client.scripted import DRIPS, LOST, SILENT, Scripted, reply
from tests.processes import lost_s

NO_TOPIC: dict[str, dict[int, int]] = {}
MODEL = {
    "name": "payments", "version": 9, "lineage": "l", "events_learned": 1, "age_seconds": 0.5,
    "stale": False, "new_member": 1,
}  # fmt: skip
GOOD = reply(200, {"predictions": [{"y": 0.25}], "model": MODEL})
READY = {"retry_after": "0"}


@pytest.mark.parametrize("lost", [LOST, reply(503, {"code": "OVERLOADED"}, **READY)])
def test_what_broke_off_is_asked_again(make: Make, lost: bytes) -> None:
    """
    A connection that is lost, and a 503 that says when: the call is made again.
    """
    with Scripted(lost, GOOD) as server, make(server.url) as client:
        found = client.predict([{}])

        assert ([{"y": 0.25}], 9) == (found.predictions, found.model.version)
        assert 2 == len(server.heard)
        assert server.heard[0] == server.heard[1]


def test_connections_are_kept(make: Make) -> None:
    """
    One for any number of calls.
    """
    with Scripted(*[GOOD] * 5) as server, make(server.url) as client:
        for _ in range(5):
            client.predict([{}])
        assert (5, 1) == (len(server.heard), server.connections)


def test_it_is_not_asked_for_ever(make: Make) -> None:
    """
    As often as attempts says, then the last failure is raised.
    """
    busy = reply(503, {"code": "OVERLOADED", "detail": "wait"}, **READY)
    with Scripted(*[busy] * 5) as server, make(server.url, attempts=2) as client:
        with pytest.raises(Problem, match="503 OVERLOADED: wait") as caught:
            client.predict([{}])
        assert (2, 0.0) == (len(server.heard), caught.value.retry_after_s)
    with make(server.url) as client, pytest.raises(Unreachable, match=server.url):
        client.predict([{}])
    with make(server.url) as client:
        health = client.health()
        assert (False, False) == (health.alive, health.ready)


@pytest.mark.parametrize(
    "refused", [reply(503, {"code": "NOT_READY"}), reply(500, {"code": "INTERNAL"}), reply(422, {})]
)
def test_what_would_not_help_is_not_asked_again(make: Make, refused: bytes) -> None:
    """
    A bug, a bad event, a 503 that does not say when.
    """
    with Scripted(refused, GOOD) as server, make(server.url) as client:
        with pytest.raises(Problem):
            client.predict([{}])
        assert 1 == len(server.heard)


def test_a_reply_that_does_not_come_is_not_waited_for(make: Make) -> None:
    """
    timeout_s ends the wait, and the call is not made again: it would wait as long.
    """
    with Scripted(SILENT, GOOD) as server, make(server.url, timeout_s=2.0) as client:
        with pytest.raises(Unreachable, match="no reply in time"):
            client.predict([{}])
        assert 1 == len(server.heard)
    with (
        Scripted(SILENT, GOOD) as server,
        make(server.url, timeout_s=9) as client,
        pytest.raises(NotInTime, match=r"seen: .*no reply in time"),
    ):
        client.wait_for_version(1, timeout_s=0.1)


def test_bytes_that_are_no_text_are_an_error_of_ours(make: Make) -> None:
    """
    And a name and a password in the address are in no message.
    """
    broken = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xfe"
    packed = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nno"
    with Scripted(broken, packed) as server:
        address = server.url.replace("://", "://user:s3cret@")
        with make(address) as client:
            for _ in range(2):
                with pytest.raises(ClientError) as caught:
                    client.predict([{}])
                assert "s3cret" not in str(caught.value)


def test_what_is_no_headwater_is_told(make: Make) -> None:
    """
    A proxy's page, a reply of another service.
    """
    pages = (reply(502, "<html>Bad Gateway</html>"), reply(200, {"hello": 1}), reply(302, "moved"))
    with Scripted(*pages) as server, make(server.url) as client:
        with pytest.raises(Problem, match="502 UNKNOWN: <html>Bad") as caught:
            client.predict([{}])
        assert [] == caught.value.errors
        with pytest.raises(ClientError, match="no reply of a Headwater API"):
            client.predict([{}])
        with pytest.raises(Problem, match="302 UNKNOWN"):
            client.status()


def test_a_reply_that_drips_ends_in_time(make: Make) -> None:
    """
    timeout_s is for the whole call: a body of which a byte comes now and then is given up.
    """
    with Scripted(DRIPS, GOOD) as server, make(server.url, timeout_s=0.5) as client:
        began = time.monotonic()
        with lost_s() as lost, pytest.raises(Unreachable, match="no reply in time"):
            client.predict([{}])
        assert time.monotonic() - began < 1.5 + lost()
        assert 1 == len(server.heard)


@pytest.mark.parametrize(("asked_s", "timeout_s"), [("60", 90.0), ("3", 2.0)])
def test_a_service_that_asks_for_a_long_pause_is_not_asked_early(
    make: Make, asked_s: str, timeout_s: float
) -> None:
    """
    Longer than five seconds, or than the time that is left: the caller is told how long.
    """
    busy = reply(503, {"code": "NOT_READY"}, retry_after=asked_s)
    with Scripted(busy, GOOD) as server, make(server.url, timeout_s=timeout_s) as client:
        with pytest.raises(Problem) as caught:
            client.predict([{}])
        assert (float(asked_s), 1) == (caught.value.retry_after_s, len(server.heard))


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://me:s3cret@[::1", "http://me:s3cret/@h:1", "me:s3cret@h", "http://me:s3cret@h:99999", "localhost:8080", "", "http://", "http://h:99999",
            "ftp://localhost"],
)  # fmt: skip
def test_an_address_that_is_none_is_told_at_once(make: Make, url: str) -> None:
    """
    In the client's own error, with what to write, and without a password.
    """
    with pytest.raises(ClientError, match=r"is no address.*Write http://host:port") as caught:
        make(url)
    assert "s3cret" not in str(caught.value)


def test_a_wait_goes_on_over_failures_that_pass(make: Make) -> None:
    """
    A lost connection and a 503 are waited over; a refusal is not.
    """
    busy = reply(503, {"code": "NOT_READY"}, **READY)
    refused = reply(404, {"code": "NOT_FOUND"})
    with Scripted(LOST, busy, GOOD, refused) as server, make(server.url) as client:
        assert 9 == client.wait_for_version(9, poll_s=0.01).version
        with pytest.raises(Problem, match="NOT_FOUND"):
            client.wait_for_version(9)


def test_calls_that_say_nothing_are_mistakes(make: Make) -> None:
    """
    Told before anything is sent.
    """
    with make("http://localhost:1") as client:
        for call in (
            lambda: client.predict(),
            lambda: client.predict([{}], candidates=[{}]),
            lambda: client.predict([{}], context={}),
            lambda: client.wait_for_version(),
            lambda: client.wait_for_version(trained_through=NO_TOPIC),
        ):
            with pytest.raises(ValueError, match=r"give|goes|wait"):
                call()
        with pytest.raises(TypeError, match="an event holds what JSON can hold, not object"):
            client.predict([{"amount": object()}])
