"""The http step against real servers that behave."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging

import pytest

from flowforge.model.outcome import Completed, Failed
from flowforge.steps import http_pool
from flowforge.steps.base import Report
from flowforge.steps.http import Http
from flowforge.steps.run import attempt
from flowforge.steps.secrets import Secrets
from flowforge.steps.settings import StepSettings
from tests.integration.steps.support import assignment, eventually, response
from tests.unit.steps.support import details_of, output_of


async def test_a_json_response_is_the_output(serve, http):
    """Status, headers and the parsed body."""
    server = await serve(response('{"id": 7}', "201 Created", Content_Type="application/json", X_Many="a", x_many="b"))
    outcome = await http({"url": server.url("/orders?x=1"), "method": "POST", "body": {"sku": "a"}})

    assert outcome == Completed(
        {
            "status_code": 201,
            "headers": {"content-length": "9", "content-type": "application/json", "x-many": "a, b"},
            "body": {"id": 7},
        }
    )
    request = server.requests[0]
    assert (request.method, request.target) == ("POST", "/orders?x=1")
    assert json.loads(request.body) == {"sku": "a"}
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.headers["content-type"] == "application/json"


async def test_every_attempt_of_a_step_sends_the_same_idempotency_key(serve, http):
    """Whatever the method; another run has another key."""
    server = await serve(response())
    first = assignment("http", {"url": server.url()})
    again = assignment("http", {"url": server.url()}, attempt=2)
    object.__setattr__(again, "run_id", first.run_id)
    object.__setattr__(again, "token", 5)
    object.__setattr__(again, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    await http({}, assigned=first)
    await http({}, assigned=again)
    await http({"url": server.url(), "method": "DELETE"})

    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert keys[0] == keys[1] == f"{first.run_id}:it"
    assert keys[2] != keys[0]
    # What fences an attempt here can fence it there, too.
    told = [(request.headers["flowforge-attempt"], request.headers["flowforge-token"]) for request in server.requests]
    assert told[:2] == [("1", "1"), ("2", "5")]
    assert [request.headers.get("traceparent") for request in server.requests] == [None, again.traceparent, None]


@pytest.mark.parametrize(
    ("method", "answer", "body"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Encoding: gzip\r\n\r\n", None),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", None),
        ("GET", response(gzip.compress(b"[1]"), Content_Encoding="gzip", Content_Type="application/json"), [1]),
        ("GET", response(b"\x89PNG", Content_Type="image/png"), {"base64": base64.b64encode(b"\x89PNG").decode()}),
        ("GET", response("plain"), "plain"),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "hi"),
    ],
)
async def test_bodies_of_every_kind(serve, http, method, answer, body):
    """A response without a body has null."""
    server = await serve(answer)
    outcome = await http({"url": server.url(), "method": method})

    assert isinstance(outcome, Completed)
    assert output_of(outcome)["body"] == body


async def test_forms_and_text_are_sent_as_such(serve, http):
    """With the content types that servers expect."""
    server = await serve(response())
    await http({"url": server.url(), "method": "POST", "form": {"a": "x y", "b": [1, 2]}})
    await http({"url": server.url(), "method": "POST", "body": "größe"})
    await http({"url": server.url(), "method": "POST", "json": "größe"})

    form, text, quoted = server.requests
    assert (quoted.body, quoted.headers["content-type"]) == ('"größe"'.encode(), "application/json")
    assert (form.body, form.headers["content-type"]) == (b"a=x+y&b=1&b=2", "application/x-www-form-urlencoded")
    assert (text.body, text.headers["content-type"]) == ("größe".encode(), "text/plain; charset=utf-8")


async def test_an_unexpected_status_fails_with_the_beginning_of_the_body(serve, http):
    """And with the wait that the server asks for."""
    server = await serve(response("overloaded", "503 Service Unavailable", Retry_After="7", Content_Type="text/plain"))
    outcome = await http({"url": server.url("/x?token=abc")})

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "HTTP_503"
    assert "http_5xx" in outcome.error.kinds
    assert outcome.retry_after is not None
    assert outcome.retry_after.total_seconds() == 7
    assert details_of(outcome)["body"] == "overloaded"
    assert "abc" not in repr(outcome)


async def test_a_step_can_expect_an_error(serve, http):
    """Then it is the output."""
    server = await serve(response("none", "404 Not Found"))
    outcome = await http({"url": server.url(), "expect": [200, 404]})

    assert isinstance(outcome, Completed)
    assert output_of(outcome)["status_code"] == 404


async def test_redirects_are_followed(serve, http):
    """A POST becomes a GET after 303, and is repeated after 307."""

    async def answer(request, writer):
        places = {"/a": ("307 Temporary Redirect", "/b"), "/b": ("303 See Other", "c?x=1")}
        status, place = places.get(request.target, ("200 OK", ""))
        writer.write(response("" if place else "end", status, Location=place))

    server = await serve(answer)
    outcome = await http({"url": server.url("/a"), "method": "POST", "body": {"n": 1}})

    assert isinstance(outcome, Completed)
    assert output_of(outcome)["body"] == "end"
    steps = [(request.method, request.target, bool(request.body)) for request in server.requests]
    assert steps == [("POST", "/a", True), ("POST", "/b", True), ("GET", "/c?x=1", False)]


async def test_redirects_can_be_left_to_the_step(serve, http):
    """With none allowed, the redirect itself is the answer."""
    server = await serve(response("", "302 Found", Location="/x"))
    outcome = await http({"url": server.url(), "max_redirects": 0, "expect": 302})

    assert isinstance(outcome, Completed)
    assert output_of(outcome)["headers"]["location"] == "/x"


async def test_a_redirect_that_is_expected_is_not_followed(serve, http):
    """The step wants to see where it leads."""
    server = await serve(response("", "303 See Other", Location="/made/7"))
    outcome = await http({"url": server.url(), "method": "POST", "expect": [200, 303]})

    assert isinstance(outcome, Completed)
    assert output_of(outcome)["headers"]["location"] == "/made/7"


async def test_credentials_do_not_follow_to_another_origin(serve, http):
    """Neither does a header that holds a secret under another name."""
    other = await serve(response("there"))
    server = await serve(response("", "302 Found", Location=other.url("/there")))
    secrets = Secrets({"FLOWFORGE_SECRET_KEY": "hunter22"})
    headers = {"Authorization": "Bearer x", "Cookie": "a=b", "X-Api-Key": "{{ secrets.key }}", "X-Plain": "p"}
    assigned = assignment("http", {"url": server.url(), "headers": headers}, secrets=secrets)
    outcome = await http({}, assigned=assigned)

    assert isinstance(outcome, Completed)
    assert server.requests[0].headers["x-api-key"] == "hunter22"
    assert server.requests[0].headers["authorization"] == "Bearer x"
    assert {"authorization", "cookie", "x-api-key"} & other.requests[0].headers.keys() == set()
    assert other.requests[0].headers["x-plain"] == "p"


async def test_cookies_are_kept_from_nobody_for_nobody(serve, http):
    """Not between steps, not between the hops of one."""

    async def answer(request, writer):
        where = {"Location": "/b"} if request.target == "/a" else {}
        writer.write(response("", "302 Found" if where else "200 OK", Set_Cookie="session=1; Path=/", **where))

    server = await serve(answer)
    await http({"url": server.url("/a")})
    await http({"url": server.url("/b")})

    assert [request.headers.get("cookie") for request in server.requests] == [None, None, None]


async def test_a_secret_that_a_server_echoes_is_not_stored(serve, http, caplog):
    """Nor logged by the libraries below, whatever level they log at."""
    caplog.set_level(logging.DEBUG)

    async def answer(request, writer):
        echo = {"you sent": request.headers["authorization"]}
        writer.write(response(json.dumps(echo), Content_Type="application/json"))

    server = await serve(answer)
    secrets = Secrets({"FLOWFORGE_SECRET_PASSWORD": "hunter22"})
    config = {"url": server.url(), "headers": {"Authorization": "Bearer {{ secrets.password }}"}}
    outcome = await http({}, assigned=assignment("http", config, secrets=secrets))

    assert server.requests[0].headers["authorization"] == "Bearer hunter22"
    assert isinstance(outcome, Completed)
    assert output_of(outcome)["body"] == {"you sent": "Bearer [secret:password]"}
    assert "hunter22" not in caplog.text


async def test_connections_are_reused_between_steps(serve, http):
    """One after the other needs only one."""
    server = await serve(response("x"))
    for _ in range(5):
        assert isinstance(await http({"url": server.url()}), Completed)

    assert len(server.requests) == 5
    assert server.connections == 1


async def test_a_connection_that_the_server_closed_is_not_used_again(serve, http):
    """Whether it said so or not."""

    async def answer(request, writer):
        writer.write(response("x"))
        await writer.drain()
        writer.close()

    server = await serve(answer)
    for _ in range(3):
        assert isinstance(await http({"url": server.url()}), Completed)
        await eventually(lambda: server.open == 0)

    assert server.connections == 3


async def test_unused_connections_are_closed_after_a_while(serve, http, monkeypatch):
    """Nobody has to ask for another one first."""
    monkeypatch.setattr(http_pool, "_KEEP", 0.05)
    server = await serve(response("x"))
    await asyncio.gather(*(http({"url": server.url()}) for _ in range(5)))

    await eventually(lambda: server.open == 0)


async def test_256_attempts_at_once_share_a_client(serve, http):
    """Each gets its own answer."""

    async def answer(request, writer):
        await asyncio.sleep(0)
        writer.write(response(request.target))

    server = await serve(answer, backlog=512)
    outcomes = await asyncio.gather(*(http({"url": server.url(f"/{n}")}) for n in range(256)))
    await eventually(lambda: server.open <= 64)

    assert all(isinstance(outcome, Completed) for outcome in outcomes)
    assert [output_of(outcome)["body"] for outcome in outcomes] == [f"/{n}" for n in range(256)]


async def test_proxies_of_the_environment_are_ignored(serve, http, monkeypatch):
    """They would see addresses that were never judged."""
    proxy = await serve(response("from the proxy"))
    server = await serve(response("direct"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url())
    outcome = await http({"url": server.url()})

    assert isinstance(outcome, Completed)
    assert output_of(outcome)["body"] == "direct"


async def test_an_attempt_that_is_cancelled_closes_its_connection(serve):
    """And the client serves the next one."""
    started, ended = asyncio.Event(), asyncio.Event()

    async def answer(request, writer):
        if request.target == "/slow":
            started.set()
            try:
                await writer.wait_closed()
            finally:
                ended.set()
        writer.write(response("ok"))

    server = await serve(answer)
    executor = Http(StepSettings(allow_loopback=True))
    report = Report(progress=lambda value: None, log=lambda text: None)
    task = asyncio.create_task(attempt(executor, assignment("http", {"url": server.url("/slow")}), report))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    outcome = await attempt(executor, assignment("http", {"url": server.url("/fast")}), report)
    await executor.close()

    assert isinstance(outcome, Completed)
    await server.stop()
    assert ended.is_set()
