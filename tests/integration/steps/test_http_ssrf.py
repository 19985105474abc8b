"""Requests that someone was talked into: to this machine, to private networks, to metadata services."""

from __future__ import annotations

import pytest

from flowforge.model.outcome import Completed, Failed
from tests.integration.steps.support import response
from tests.unit.steps.support import output_of


class Resolver:
    """Answers with the addresses it is given, one answer after the other."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = answers
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return answer


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "0.0.0.0",
        "[::]",
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "10.0.0.1",
        "[fd00:ec2::254]",
        "[64:ff9b::7f00:1]",
    ],
)
async def test_what_is_not_public_is_refused(serve, http, host):
    """However it is spelled, and before a connection is opened."""
    server = await serve(response("inside"))
    outcome = await http({"url": server.url("/", host)}, allow_loopback=False)

    assert isinstance(outcome, Failed)
    # Some spellings of IPv4 addresses are no valid URL to begin with.
    assert outcome.error.code == ("BAD_CONFIG" if host == "0177.0.0.1" else "ADDRESS_REFUSED")
    assert not outcome.error.retryable
    assert server.connections == 0


async def test_the_refusal_names_the_setting(http):
    """Whoever runs the installation can allow it."""
    outcome = await http({"url": "http://10.0.0.1/"})

    assert isinstance(outcome, Failed)
    assert "FLOWFORGE_ALLOW_PRIVATE_ADDRESSES" in (outcome.error.hint or "")


async def test_a_redirect_to_a_metadata_service_is_refused(serve, http):
    """Every hop is judged as the first one."""
    server = await serve(response("", "302 Found", Location="http://169.254.169.254/latest/meta-data/"))
    outcome = await http({"url": server.url()}, allow_private_addresses=True)

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "ADDRESS_REFUSED"
    assert len(server.requests) == 1


async def test_a_name_with_one_bad_address_among_good_ones_is_refused(serve, http):
    """It could be connected to that one."""
    server = await serve(response("inside"))
    resolve = Resolver(["93.184.216.34", "127.0.0.1"])
    outcome = await http({"url": server.url("/", "mixed.example")}, resolve=resolve, allow_loopback=False)

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "ADDRESS_REFUSED"
    assert "mixed.example (127.0.0.1)" in outcome.error.message
    assert server.connections == 0


async def test_a_name_that_changes_its_address_gains_nothing(serve, http):
    """DNS rebinding: what was judged is what is connected to, because there is only one look-up."""
    server = await serve(response("inside"))
    resolve = Resolver(["127.0.0.1"], ["169.254.169.254"])
    first = await http({"url": server.url("/", "rebind.example")}, resolve=resolve)

    assert isinstance(first, Completed)
    assert resolve.asked == 1
    assert server.requests[0].headers["host"] == f"rebind.example:{server.port}"


async def test_a_name_is_judged_again_for_every_connection(serve, http):
    """The good answer of before does not count."""
    server = await serve(response("x", Connection="close"))
    resolve = Resolver(["127.0.0.1"], ["169.254.169.254"])
    url = server.url("/", "rebind.example")

    assert isinstance(await http({"url": url}, resolve=resolve), Completed)
    second = await http({"url": url}, resolve=resolve)
    assert isinstance(second, Failed)
    assert second.error.code == "ADDRESS_REFUSED"


async def test_the_next_address_is_tried_when_one_does_not_answer(serve, http):
    """As long as all of them are allowed."""
    server = await serve(response("second"))
    resolve = Resolver(["127.0.0.2", "127.0.0.1"])  # on the first one nobody listens
    outcome = await http({"url": server.url("/", "two.example")}, resolve=resolve)

    assert isinstance(outcome, Completed)
    assert output_of(outcome)["body"] == "second"


@pytest.mark.parametrize("answer", [[], OSError("no such name")])
async def test_a_name_without_an_address_is_a_network_failure(http, answer):
    """It may have one later."""

    async def resolve(host, port):
        if isinstance(answer, OSError):
            raise answer
        return answer

    outcome = await http({"url": "http://nowhere.example/"}, resolve=resolve)

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "NETWORK"
    assert "dns" in outcome.error.kinds
    assert outcome.error.retryable


async def test_a_host_can_be_allowed_by_its_name(serve, http):
    """Then its address does not matter; other names keep being judged."""
    server = await serve(response("inside"))
    settings = {"allow_loopback": False, "allowed_hosts": ("stock.internal",), "resolve": Resolver(["127.0.0.1"])}

    assert isinstance(await http({"url": server.url("/", "stock.internal")}, **settings), Completed)
    refused = await http({"url": server.url("/", "other.internal")}, **settings)
    assert isinstance(refused, Failed)
    assert refused.error.code == "ADDRESS_REFUSED"
