"""From an http step's configuration to a request, and from a response to the next request."""

from __future__ import annotations

import pytest

from flowforge.steps.failures import ConfigError
from flowforge.steps.http_config import options
from flowforge.steps.http_request import BadRedirect, build, redirected, shown

URL = "https://api.example/v1/orders"


def made(**config):
    return build({"url": URL, **config}, {"idempotency-key": "run:step", "accept": "*/*"}, ("s3cr3t-value",))


def test_a_request_needs_no_more_than_a_url():
    """Everything else has a default."""
    request = made()

    assert request.method == "GET"
    assert str(request.url) == URL
    assert request.content == b""
    assert dict(request.headers) == {"idempotency-key": "run:step", "accept": "*/*"}


def test_the_query_is_added_to_the_one_of_the_url():
    """Lists repeat a parameter, null leaves it out, everything is quoted."""
    request = build({"url": f"{URL}?a=1", "query": {"b": [1, True], "c": None, "d": "ä&=/", "e": 1.5}}, {})

    assert request.url.raw_path == b"/v1/orders?a=1&b=1&b=true&d=%C3%A4%26%3D%2F&e=1.5"
    assert build({"url": URL, "query": "?x=1"}, {}).url.query == b"x=1"


@pytest.mark.parametrize(
    ("body", "content", "kind"),
    [
        ({"body": {"a": "ü"}}, '{"a":"ü"}', "application/json"),
        ({"body": [1]}, "[1]", "application/json"),
        ({"body": "plain"}, "plain", "text/plain; charset=utf-8"),
        ({"body": 0}, "0", "application/json"),
        ({"json": "text"}, '"text"', "application/json"),
        ({"text": 5}, "5", "text/plain; charset=utf-8"),
        ({"form": {"a": "x y", "b": [1, 2]}}, "a=x+y&b=1&b=2", "application/x-www-form-urlencoded"),
        ({"body": "<a/>", "headers": {"Content-Type": "text/xml"}}, "<a/>", "text/xml"),
        (
            {"body": {"a": 1}, "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
            "a=1",
            "application/x-www-form-urlencoded",
        ),
    ],
)
def test_a_body_is_sent_as_what_it_is(body, content, kind):
    """The content type follows from the body unless the step sets it."""
    request = made(method="post", **body)

    assert request.method == "POST"
    assert request.content == content.encode()
    assert request.headers["content-type"] == kind


def test_the_step_may_replace_default_headers_and_take_them_away():
    """Null means: not this header."""
    request = made(headers={"Idempotency-Key": "mine", "Accept": None, "X-Many": ["a", 1]})

    assert dict(request.headers) == {"idempotency-key": "mine", "x-many": "a, 1"}


def test_credentials_of_the_url_become_a_header():
    """They appear neither in the target nor in messages."""
    request = build({"url": "https://us%40er:p%3Aw@api.example/x#part"}, {})

    assert str(request.url) == "https://api.example/x"
    assert request.headers["authorization"] == "Basic dXNAZXI6cDp3"


@pytest.mark.parametrize(
    "config",
    [
        {"url": None},
        {"url": ""},
        {"url": "ftp://x/y"},
        {"url": "file:///etc/passwd"},
        {"url": "/relative"},
        {"url": "http://"},
        {"url": "http://[::1"},
        {"url": "http://x:99999/"},
        {"url": "http://x/\nHost: y"},
        {"method": "BREW"},
        {"method": "GET / HTTP/1.1\r\nX: y"},
        {"headers": {"X-Token": "s3cr3t\r\nX-Evil: 1"}},
        {"headers": {"X-Token": "s3cr3t\0"}},
        {"headers": {"X-Token": "s3cr3t\ud800"}},
        {"headers": {"X Token": "s3cr3t"}},
        {"headers": {"X\r\nToken": "s3cr3t"}},
        {"headers": {"Host": "other.example"}},
        {"headers": {"Content-Length": "5"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"headers": {"X-Token": {"s3cr3t": 1}}},
        {"headers": ["s3cr3t"]},
        {"query": ["s3cr3t"]},
        {"query": {"a": {"b": "s3cr3t"}}},
        {"form": "s3cr3t"},
        {"form": {"a": ["s3cr3t", []]}},
        {"body": {"a": float("nan")}},
        {"body": "s3cr3t\ud800"},
        {"body": 1, "json": 2},
        {"expect": "success"},
        {"expect": []},
        {"expect": [200, 999]},
        {"expect": 20},
        {"timeout": "soon"},
        {"timeout": 0},
        {"max_bytes": -1},
        {"max_bytes": "many"},
        {"max_redirects": True},
    ],
)
def test_nonsense_is_refused_before_a_connection_is_opened(config):
    """And the message never quotes a header's value."""
    with pytest.raises(ConfigError) as caught:
        build({"url": URL, **config}, {}), options(config)

    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("expect", "good", "bad"),
    [
        (None, [200, 204, 299], [199, 300, 404]),
        (201, [201], [200]),
        ("2xx", [204], [302]),
        ([200, "4XX", "302"], [200, 404, 302], [201, 500]),
        ({"status": [404]}, [404], [200]),
    ],
)
def test_expected_statuses_are_numbers_or_classes(expect, good, bad):
    """Any 2xx without them."""
    found = options({"expect": expect})

    assert all(found.expects(status) for status in good)
    assert not any(found.expects(status) for status in bad)


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (302, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "DELETE", "DELETE"),
    ],
)
def test_a_redirect_keeps_or_changes_the_method(status, method, then):
    """As browsers do; a body goes with the method it belongs to."""
    following = redirected(made(method=method, body={"a": 1}), status, "/other?x=1")

    assert following is not None
    assert following.method == then
    assert str(following.url) == "https://api.example/other?x=1"
    assert bool(following.content) == (then != "GET")
    assert ("content-type" in following.headers) == bool(following.content)
    assert following.headers["idempotency-key"] == "run:step"


@pytest.mark.parametrize(
    ("location", "kept"),
    [
        ("https://api.example/x", True),
        ("https://API.example:443/x", True),
        ("https://api.example:8443/x", False),
        ("http://api.example/x", False),
        ("https://evil.example/x", False),
        ("//evil.example/x", False),
    ],
)
def test_credentials_stay_with_their_origin(location, kept):
    """Also in headers that hold a secret by any other name, and over several hops."""
    headers = {"Authorization": "Bearer x", "Cookie": "a=b", "X-Api-Key": "s3cr3t-value", "X-Plain": "p"}
    following = redirected(made(headers=headers), 302, location)
    assert following is not None
    back = redirected(following, 302, URL)
    assert back is not None

    for request in (following, back):
        assert {"authorization", "cookie", "x-api-key"} & request.headers.keys() == (
            {"authorization", "cookie", "x-api-key"} if kept else set()
        )
        assert request.headers["x-plain"] == "p"


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "gopher://x/", "javascript:alert(1)", "http://[", "http://"]
)
def test_a_redirect_to_nonsense_is_refused(location):
    """Only http and https are followed."""
    with pytest.raises(BadRedirect):
        redirected(made(), 302, location)


@pytest.mark.parametrize(("status", "location"), [(200, "/x"), (304, "/x"), (302, None), (302, ""), (300, "/x")])
def test_other_responses_redirect_nowhere(status, location):
    """They are the answer."""
    assert redirected(made(), status, location) is None


def test_a_url_is_shown_without_what_may_be_secret():
    """No credentials, no query, no fragment."""
    assert shown("https://user:pw@api.example:8443/path?token=x#y") == "https://api.example:8443/path"
    assert shown("http://[::1") == "the url"
