"""Secrets that many steps use, and whose servers echo them, are nowhere afterwards: in no form, in no place."""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import redis
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from flowforge.contacts import Address, Agent
from flowforge.engine import tracing
from flowforge.engine.receipting import Receipting
from flowforge.engine.step_settings import step_settings
from flowforge.engine.tracing import SdkTracer
from flowforge.steps.registry import build
from tests.support.definitions import step, workflow
from tests.support.documents import steps_of
from tests.support.sql import Sql

pytest.importorskip("apprise")

ODD = 'canary-o/+ "dd"\\ ü=&?-31f7c2'
KEY = "sk-canary-9f2b7c/+==d41"
TOKEN = "tok-canary-55aa66bb77"
CANARIES = {"odd": ODD, "key": KEY, "token": TOKEN}

FUNCTIONS = """
import base64, json, logging, sys
from urllib.parse import quote

def use(odd, key, fail, context):
    print("odd is", odd, "key is", key)
    print(base64.b64encode(odd.encode()).decode(), quote(odd), json.dumps(odd), file=sys.stderr)
    logging.getLogger("mine").warning("key %s", key)
    context.progress({"odd": odd})
    if fail:
        raise ValueError(f"{odd} and {key} and {base64.b64encode(('u:' + key).encode()).decode()}")
    return {odd: [key, quote(odd, safe=""), json.dumps({"a": odd}), base64.b64encode(odd.encode()).decode()]}
"""

BODY = {"odd": "{{ secrets.odd }}", "basic": "user:{{ secrets.key }}"}
HEADERS = {"Authorization": "Bearer {{ secrets.key }}", "X-Token": "{{ secrets.token }}"}


def needles() -> Iterator[tuple[str, str]]:
    """Yield every text that must not be found, with what it is."""
    for name, value in CANARIES.items():
        yield name, value
        yield f"{name} quoted", quote(value, safe="")
        yield f"{name} quoted", quote(value)
        yield f"{name} quoted", quote_plus(value)
        yield f"{name} as JSON", json.dumps(value)[1:-1]
        yield f"{name} as JSON", json.dumps(value, ensure_ascii=False)[1:-1]
        for shift in range(3):
            data = b"u" * shift + value.encode()
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                yield f"{name} in base64", encode(data).decode()[4:-4]


NEEDLES = tuple(needles())


def found(text: str) -> list[str]:
    return sorted({what for what, needle in NEEDLES if needle in text})


def leaves(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value, and what is written as bytes or JSON inside it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, str):
        yield value
        if value.startswith("\\x"):
            yield bytes.fromhex(value[2:]).decode("utf-8", "replace")


def rows(sql: Sql) -> Iterator[tuple[str, str]]:
    """Yield every text in every table of the database."""
    tables = sql.rows(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )
    for (table,) in tables:
        for (row,) in sql.rows(f"SELECT to_jsonb(t) FROM {table} t"):
            for text in leaves(row):
                yield table, text


@contextmanager
def overheard(url: str) -> Iterator[list[str]]:
    """Write down every command that the stream server gets."""
    heard: list[str] = []
    ready = threading.Event()

    def listen() -> None:
        with redis.Redis.from_url(url) as client, client.monitor() as monitor:
            ready.set()
            for said in monitor.listen():
                heard.append(str(said["command"]))
                if "ECHO the-end" in heard[-1]:
                    return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert ready.wait(30)
    yield heard
    with redis.Redis.from_url(url) as client:
        client.echo("the-end")
    thread.join(30)
    assert not thread.is_alive()


def echo(request: Request) -> Response:
    """Answer with all that came, in several forms; a path that holds `bad` is answered with an error."""
    text = request.get_data(as_text=True)
    said: dict[str, Any] = {
        "headers": dict(request.headers),
        "url": request.url,
        "body": text,
        "odd": ODD,
        "key": KEY,
        "token": TOKEN,
    }
    said["encoded"] = base64.b64encode(f"u:{KEY} {ODD}".encode()).decode()
    said["quoted"] = [quote(ODD, safe=""), quote_plus(KEY), json.dumps(ODD), json.dumps(json.dumps(ODD))]
    if "elsewhere" in request.path:
        return Response(json.dumps([KEY, quote(TOKEN), base64.b64encode(f"u:{KEY}".encode()).decode()]))
    if "garbage" in request.path:
        return Response(f"<p>{KEY} {ODD}", content_type="text/html")
    if "bad" in request.path:
        return Response(json.dumps(said), 500 if "note" in request.path else 401, content_type="application/json")
    if "completions" in request.path:
        message = {"role": "assistant", "content": json.dumps(said)}
        said = {"id": KEY, "model": ODD, "choices": [{"finish_reason": "stop", "message": message}]}
    return Response(json.dumps(said), headers={"X-Echo": KEY}, content_type="application/json")


def definition(url: str) -> dict[str, Any]:
    """Return a workflow whose steps use the secrets in every way, half of them in vain."""
    call = {"method": "POST", "headers": HEADERS, "body": BODY, "query": {"q": "{{ secrets.odd }}"}}
    args = {"odd": "{{ secrets.odd }}", "key": "{{ secrets.key }}"}
    asked = {"input": "{{ secrets.odd }} {{ secrets.token }}", "system": "{{ secrets.key }}"}
    told = {"title": "{{ secrets.token }}", "body": "{{ secrets.odd }} {{ secrets.key }}"}
    steps = [
        step("http_good", kind="http", config={**call, "url": f"{url}/good/{{{{ secrets.token }}}}"}),
        step("http_bad", kind="http", config={**call, "url": f"{url}/bad/{{{{ secrets.token }}}}"}),
        step("http_dead", kind="http", config={**call, "url": "http://127.0.0.1:1/{{ secrets.token }}"}),
        step("python_good", kind="python", config={"function": "canary:use", "args": {**args, "fail": False}}),
        step("python_bad", kind="python", config={"function": "canary:use", "args": {**args, "fail": True}}),
        step("agent_good", kind="agent", config={"agent_id": "good", **asked}),
        step("agent_bad", kind="agent", config={"agent_id": "bad", **asked}),
        step("agent_garbage", kind="agent", config={"agent_id": "garbage", **asked}),
        step("agent_schema", kind="agent", config={"agent_id": "good", "output_schema": {"type": "array"}, **asked}),
        step("note_good", kind="notification", config={"targets": "good", **told}),
        step("note_bad", kind="notification", config={"targets": ["good", "bad"], **told}),
        step("transform", expression="[secrets.odd, secrets.key + secrets.token]"),
        step("expression", expression="secrets.key[0:300] + secrets.nowhere"),
        step("echo", kind="http", config={"url": f"{url}/good/echo"}),
    ]
    later = step("later", "http_good", "python_good", expression="[steps.http_good.output, steps.python_good.output]")
    return workflow(*steps, later, error_handling={"on_error": "continue"}, retry={"max_attempts": 1})


def saga(url: str) -> dict[str, Any]:
    """Return a workflow that is undone with the secrets, half of it in vain."""
    undo = {"method": "POST", "headers": HEADERS, "body": BODY}
    return workflow(
        {
            **step("a", expression="secrets.odd"),
            "compensate": {"type": "http", "config": {**undo, "url": f"{url}/good"}},
        },
        {**step("b", "a", expression="1"), "compensate": {"type": "http", "config": {**undo, "url": f"{url}/bad"}}},
        step("c", "b", expression="secrets.key[0:300] + secrets.nowhere"),
        name="saga",
        retry={"max_attempts": 1},
    )


async def test_a_secret_is_nowhere_afterwards(
    client,
    make_engine,
    start_worker,
    sql: Sql,
    valkey_client,
    endpoints,
    httpserver: HTTPServer,
    tmp_path,
    monkeypatch,
    caplog,
):
    """Postgres, Redis, logs, traces, receipts and capsules: as it is, in base64, quoted for URLs and for JSON."""
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(tracing, "make", lambda traces: SdkTracer(exporter))
    monkeypatch.setenv("FLOWFORGE_SECRET_KEY", KEY)
    monkeypatch.setenv("FLOWFORGE_SECRET_TOKEN", TOKEN)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "odd").write_text(f"{ODD}\n")
    (tmp_path / "canary.py").write_text(FUNCTIONS)
    httpserver.expect_request(re.compile(".*")).respond_with_handler(echo)
    url = httpserver.url_for("").rstrip("/")
    engine = await make_engine(
        agents={
            name: Agent.model_validate(
                {"base_url": f"{url}/{name}", "model": "m", "secret": "key", "headers": {"X-T": "{{ secrets.token }}"}}
            )
            for name in ("good", "bad", "garbage")
        },
        targets={
            name: (Address(f"json://127.0.0.1:{httpserver.port}/note-{name}/{{{{ secrets.token }}}}"),)
            for name in ("good", "bad")
        },
        secrets_dir=tmp_path / "secrets",
        python_path=(str(tmp_path),),
    )
    caplog.set_level(logging.DEBUG)
    with overheard(endpoints.redis_url) as commands:
        await start_worker(engine=engine, executors=build(step_settings(engine.settings)))
        run = await client.run(definition(url), wait=True)
        undone = await client.run(saga(url), wait=True)
        call = step("a", kind="http", config={"url": f"{url}/elsewhere"})
        elsewhere = await client.run(workflow(call, name="elsewhere"), wait=True)
    await Receipting(engine.database, engine.plans, engine.settings).run_once()

    failed = {one.id for one in steps_of(run) if one.status == "failed"}
    expected = {
        "http_bad",
        "http_dead",
        "python_bad",
        "agent_bad",
        "agent_garbage",
        "agent_schema",
        "note_bad",
        "expression",
    }
    assert failed == expected, {one.id: one.error for one in steps_of(run) if one.id in failed ^ expected}
    received = " ".join(
        f"{request.url} {dict(request.headers)} {request.get_data()!r}" for request, _ in httpserver.log
    )
    assert KEY in received
    assert TOKEN in received

    assert elsewhere.output is not None
    assert "[secret:key]" in elsewhere.output["a"]["body"]
    assert [one.status for one in undone.compensation.steps] == ["failed"], undone.compensation
    handed_on = [await client.receipt(one.id) for one in (run, undone, elsewhere)]
    handed_on += [(await client.capsule(one.id)).document() for one in (run, undone, elsewhere)]
    assert "[secret:" in json.dumps(handed_on)
    assert found(" ".join(text for one in handed_on for text in leaves(one))) == []

    written = list(rows(sql))
    assert sum("[secret:odd]" in text for _, text in written) > 5, "nothing was redacted: the search proves nothing"
    assert [(table, found(text)) for table, text in written if found(text)] == []
    keys = list(valkey_client.scan_iter("*"))
    stored = [str(entry) for key in keys if valkey_client.type(key) == b"stream" for entry in valkey_client.xrange(key)]
    assert keys
    assert len(commands) > 10
    assert found(" ".join([*map(str, keys), *stored, *commands])) == []
    assert found(caplog.text) == []
    await engine.close()
    spans = exporter.get_finished_spans()
    assert {f"step {one.id}" for one in steps_of(run)} <= {span.name for span in spans}
    assert found(" ".join(span.to_json() for span in spans)) == []
