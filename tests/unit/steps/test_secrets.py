"""Secrets: found by name, and taken out of everything in every form."""

from __future__ import annotations

import base64
import json
import logging
from datetime import timedelta
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowforge.model.outcome import Completed, Failed, Released, StepError, Waiting
from flowforge.steps.redaction import Lines, Redactor, guard, protected_logs, redact
from flowforge.steps.secret_providers import Environment
from flowforge.steps.secrets import Secrets

ENVIRONMENT = {"FLOWFORGE_SECRET_STRIPE_KEY": "sk_live_4eC39H", "FLOWFORGE_URL": "no secret", "HOME": "/root"}
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASCBKcwggSj\n-----END KEY-----\n"


def test_a_secret_is_read_by_its_lower_case_name():
    """And only what was read counts as used."""
    secrets = Secrets(ENVIRONMENT)

    assert list(secrets) == ["stripe_key"]
    assert len(secrets) == 1
    assert "stripe_key" in secrets
    assert secrets.used == {}
    assert secrets["stripe_key"] == "sk_live_4eC39H"
    assert secrets.used == {"stripe_key": "sk_live_4eC39H"}
    assert Environment().place("stripe_key") == "FLOWFORGE_SECRET_STRIPE_KEY"


def test_a_secret_that_is_not_there_is_named():
    """The expression fails; a similar name is suggested, no value is shown."""
    with pytest.raises(KeyError, match="other"):
        Secrets(ENVIRONMENT)["other"]
    assert "url" not in Secrets(ENVIRONMENT)
    assert "4eC39H" not in repr(Secrets(ENVIRONMENT))


def test_expressions_read_secrets(assign):
    """The template language takes the mapping as it is."""
    secrets = Secrets(ENVIRONMENT)
    assignment = assign("python", {"function": "a:b", "args": {"key": "{{ secrets.stripe_key }}"}}, secrets=secrets)

    assert assignment.step.config.render(assignment.context)["args"] == {"key": "sk_live_4eC39H"}
    assert secrets.used.keys() == {"stripe_key"}


@given(
    secret=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=6, max_size=40),
    before=st.text(max_size=5),
    after=st.text(max_size=5),
)
def test_a_secret_is_found_in_every_form(secret, before, after):
    """Base64 at any offset, URL quoting of each kind, JSON escapes, repr."""
    used = {"it": secret}
    whole = f"{before}{secret}{after}"
    for text in (whole, json.dumps(whole), json.dumps(whole, ensure_ascii=False), quote(secret), quote_plus(secret)):
        assert secret not in redact(text, used) or secret in "[secret:it]"
    assert quote(secret, safe="") not in redact(urlencode({"q": secret}, quote_via=quote, safe=""), used)


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("prefix", ["", "u", "us", "user:"])
@pytest.mark.parametrize("suffix", ["", ":", "xy"])
def test_base64_hides_nothing(encode, prefix, suffix):
    """Basic authentication puts a password at any of three places."""
    secret = "p?ss>w~rd-ünïcode"
    encoded = encode(f"{prefix}{secret}{suffix}".encode()).decode()
    shown = redact(f"Basic {encoded}", {"pw": secret})

    assert "[secret:pw]" in shown
    left = shown.replace("[secret:pw]", "").removeprefix("Basic ")
    assert len(left) <= len(encode(f"{prefix}{suffix}".encode()).decode()) + 4


def test_the_lines_of_a_key_count_by_themselves():
    """A log prints a key line by line."""
    for line in KEY.splitlines():
        assert redact(f"> {line}", {"key": KEY}) == "> [secret:key]"


def test_a_short_secret_is_only_replaced_where_it_stands_alone():
    """Otherwise it would tear holes into every text."""
    assert redact(["no", "on and on", "noon"], {"pin": "no"}) == ["[secret:pin]", "on and on", "noon"]
    assert redact("anything", {"empty": ""}) == "anything"


def test_a_secret_inside_another_is_part_of_it():
    """The longer one is replaced as a whole."""
    used = {"short": "secret", "long": "secret-and-more"}

    assert redact("a secret-and-more b secret", used) == "a [secret:long] b [secret:short]"


def test_the_guard_covers_every_part_of_an_outcome():
    """Keys and nested values, and all texts of an error."""
    used = {"k": "hunter22"}
    error = StepError("hunter22", "m hunter22", ("hunter22",), hint="h hunter22", details={"hunter22": ["hunter22"]})

    assert "hunter22" not in repr(guard(Failed(error, timedelta(1)), used))
    guarded = guard(Failed(error, timedelta(1)), used)
    assert isinstance(guarded, Failed)
    assert guarded.retry_after == timedelta(1)
    assert guard(Completed({"hunter22": [{"a": "xhunter22x"}]}, "true"), used) == Completed(
        {"[secret:k]": [{"a": "x[secret:k]x"}]}, "true"
    )
    assert guard(Waiting(timedelta(1), {"a": "hunter22"}), used) == Waiting(timedelta(1), {"a": "[secret:k]"})
    assert guard(Released(), used) == Released()


def test_nothing_is_touched_when_no_secret_was_read():
    """The usual case costs nothing."""
    outcome = Completed({"a": 1})

    assert guard(outcome, {}) is outcome


def test_a_value_too_deep_to_search_is_not_let_through():
    """It could not be stored anyway."""
    deep: Any = "hunter22"
    for _ in range(100_000):
        deep = [deep]

    assert guard(Completed(deep), {"k": "hunter22"}) == Completed(None)


def test_the_parts_of_an_address_that_are_credentials_count_by_themselves():
    """A library that is given one says parts of it in its errors."""
    used = {"mail": "mailtos://robot:pass%20word99@mail.example/?token=abcdef123456"}

    assert redact("login of robot with pass word99 failed", used) == "login of robot with [secret:mail] failed"
    assert redact("abcdef123456", used) == "[secret:mail]"


def test_half_of_a_secret_in_a_diagnostic_is_the_secret():
    """Excerpts and ends of outputs are cut anywhere; data is not touched for a coincidence."""
    used = {"k": "0123456789abcdef"}

    assert Redactor(used).diagnostic("begins 0123456789ab") == "begins [secret:k]"
    assert Redactor(used).diagnostic("456789abcdef ends") == "[secret:k] ends"
    assert redact("0123456789ab", used) == "0123456789ab"


def test_log_text_is_searched_line_by_line():
    """What arrives in pieces is put together before it is searched."""
    written: list[str] = []
    used: dict[str, str] = {}
    lines = Lines(lambda: used, written.append)
    lines.add("before\n")
    used["k"] = "hunter22"
    lines.add("a hun")
    lines.add("ter22 b\nand hunter")
    lines.close()

    assert "".join(written) == "before\na [secret:k] b\nand hunter"


def test_log_records_pass_without_secrets(caplog):
    """Also those of libraries, in arguments and tracebacks."""
    known = {"k": "hunter22"}
    with protected_logs(known):
        logging.getLogger("some.library").warning("sent %s", {"password": "hunter22"})
        try:
            int(known["k"])
        except ValueError:
            logging.getLogger("some.library").exception("failed")

    assert "hunter22" not in caplog.text
    assert caplog.text.count("[secret:k]") == 2
    assert "Traceback" in caplog.text
