"""Which addresses http steps may connect to."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowforge.steps.addresses import AddressPolicy, AddressRefused
from flowforge.steps.settings import StepSettings

PUBLIC = ("8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1")
LOOPBACK = ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1")
PRIVATE = ("10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.1", "fc00::1", "fd12::1", "fec0::1", "::ffff:10.1.2.3")
NEVER = (
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fe80::1%eth0",
    "0.0.0.0",
    "::",
    "0.1.2.3",
    "192.0.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "203.0.113.7",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "ff02::1",
    "2001:db8::1",
    "2001::1",
    "64:ff9b:1::1",
    "100::1",
    "::127.0.0.1",
    "not an address",
)


def allowed(policy, address, host="example.com"):
    try:
        policy.check(host, address)
    except AddressRefused:
        return False
    return True


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address):
    """Also when they are written inside an IPv6 address."""
    assert allowed(AddressPolicy(), address)


@pytest.mark.parametrize("address", [*LOOPBACK, *PRIVATE, *NEVER])
def test_nothing_else_is_allowed_unless_the_installation_says_so(address):
    """The defaults of the settings are the strict ones."""
    assert not allowed(AddressPolicy.of(StepSettings()), address)


def test_loopback_can_be_allowed_alone():
    """As in the embedded profile."""
    policy = AddressPolicy.of(StepSettings(allow_loopback=True))

    assert all(allowed(policy, address) for address in LOOPBACK)
    assert not any(allowed(policy, address) for address in (*PRIVATE, *NEVER))


def test_private_addresses_include_this_machine():
    """But never metadata services, nor what is no unicast address at all."""
    policy = AddressPolicy.of(StepSettings(allow_private_addresses=True))

    assert all(allowed(policy, address) for address in (*LOOPBACK, *PRIVATE))
    assert [address for address in NEVER if allowed(policy, address)] == []


def test_a_host_can_be_allowed_whatever_its_address():
    """By its name, or all names below one; a name that only ends alike is another one."""
    policy = AddressPolicy.of(StepSettings(allowed_hosts=("stock.internal", "*.Lan")))

    assert allowed(policy, "10.0.0.1", "Stock.internal.")
    assert allowed(policy, "10.0.0.1", "printer.lan")
    assert not allowed(policy, "10.0.0.1", "lan")
    assert not allowed(policy, "10.0.0.1", "mystock.internal")
    assert not allowed(policy, "10.0.0.1", "stock.internal.example.com")


def test_a_refusal_names_the_setting():
    """The person who reads the error can change it."""
    with pytest.raises(AddressRefused) as caught:
        AddressPolicy().check("db.internal", "10.0.0.7")

    assert caught.value.message == "db.internal (10.0.0.7) is a private address: workers may not connect to it"
    assert "FLOWFORGE_ALLOW_PRIVATE_ADDRESSES" in (caught.value.hint or "")


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_judged_as_what_it_maps(address: IPv4Address):
    """There is no second opinion in another spelling."""
    for policy in (AddressPolicy(), AddressPolicy(private=True, loopback=True)):
        assert allowed(policy, f"::ffff:{address}") == allowed(policy, str(address))


@given(st.ip_addresses())
def test_what_the_standard_library_calls_private_is_never_public(address):
    """Our own list may only refuse more."""
    if not address.is_global and address not in ip_network("64:ff9b::/96" if address.version == 6 else "0.0.0.0/32"):
        mapped = getattr(address, "ipv4_mapped", None)
        if mapped is None or not mapped.is_global:
            assert not allowed(AddressPolicy(), str(address))
