"""The http step over TLS: the name that is checked is the URL's, not the address that is connected to."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess

import pytest

from flowforge.model.outcome import Completed, Failed
from tests.integration.steps.support import response
from tests.unit.steps.support import output_of

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=shop.example"]
    command += ["-addext", "subjectAltName=DNS:shop.example", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
async def server(serve, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    names = []
    context.sni_callback = lambda connection, name, _: names.append(name)
    server = await serve(response("secure"), ssl=context)
    server.names = names
    return server


async def resolve(host, port):
    return ["127.0.0.1"]


async def test_the_certificate_is_checked_against_the_name_of_the_url(server, http, certificate, monkeypatch):
    """Server name and Host header stay, though the connection goes to an address."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    outcome = await http({"url": server.url("/", "shop.example", "https")}, resolve=resolve)

    assert isinstance(outcome, Completed)
    assert output_of(outcome)["body"] == "secure"
    assert server.names == ["shop.example"]
    assert server.requests[0].headers["host"] == f"shop.example:{server.port}"


@pytest.mark.parametrize(("host", "trusted"), [("shop.example", False), ("other.example", True)])
async def test_a_certificate_that_is_not_accepted_takes_a_person(server, http, certificate, monkeypatch, host, trusted):
    """An unknown authority or another name: trying again does not help."""
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    outcome = await http({"url": server.url("/", host, "https")}, resolve=resolve)

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "TLS"
    assert not outcome.error.retryable
    assert "SSL_CERT_FILE" in (outcome.error.hint or "")
    assert server.requests == []


async def test_a_server_that_does_not_speak_tls_is_a_network_failure(http):
    """The handshake breaks off; it may be a proxy in trouble."""

    async def plain(_, writer):
        writer.write(response("plain", "400 Bad Request"))
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        outcome = await http({"url": f"https://shop.example:{port}/"}, resolve=resolve)

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "NETWORK"
    assert outcome.error.retryable
