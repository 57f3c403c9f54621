"""Who may ask: tokens, host names, origins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import ConfigError
from actrio.http import HttpSettings
from actrio.http._gate import AccessRules, Caller, Denied, admit, is_loopback, refuse_open
from actrio.http._settings import read_tokens

TOKEN = "0123456789abcdef0123"
OPEN = AccessRules.of(())
LOCKED = AccessRules.of((TOKEN, "another-token-of-ours"))


def asked(rules, path="/health", **headers):
    headers.setdefault("host", "127.0.0.1:8080")
    return admit(path, headers, "127.0.0.1", rules)


def test_without_tokens_everybody_on_this_machine_may_ask():
    """No token is asked for where none is set."""
    assert asked(OPEN) == Caller("127.0.0.1")


@pytest.mark.parametrize("token", [TOKEN, "another-token-of-ours"])
def test_each_token_opens(token):
    """Every listed token counts, and its caller is known by a fingerprint, not by itself."""
    caller = asked(LOCKED, authorization=f"Bearer {token}")
    assert isinstance(caller, Caller)
    assert caller.name.startswith("token:")
    assert token not in caller.name


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN])
def test_anything_else_is_401(header):
    """A missing, wrong or differently sent token is refused."""
    found = asked(LOCKED, authorization=header)
    assert isinstance(found, Denied)
    assert found.status == 401


@given(st.text(max_size=60))
def test_no_other_text_opens(text):
    """Whatever stands in the header, only a listed token opens."""
    if text.strip() in (TOKEN, "another-token-of-ours"):
        return
    assert isinstance(asked(LOCKED, authorization=f"Bearer {text}"), Denied)


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_need_no_token(path):
    """An orchestrator asks without one."""
    assert isinstance(asked(LOCKED, path), Caller)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "", "10.0.0.1"])
def test_a_foreign_host_name_is_refused(host):
    """DNS rebinding: a name of somebody else that points here is not ours."""
    found = asked(OPEN, host=host)
    assert isinstance(found, Denied)
    assert found.status == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "[::1]:8080", "127.0.0.1"])
def test_loopback_names_are_ours(host):
    """Each way to write this machine is taken."""
    assert isinstance(asked(OPEN, host=host), Caller)


def test_listed_hosts_are_ours_too():
    """A name in the settings is taken; others stay refused."""
    rules = AccessRules.of((), hosts=("agents.example",))
    assert isinstance(asked(rules, host="agents.example:8080"), Caller)
    assert isinstance(asked(rules, host="other.example"), Denied)


def test_a_public_address_has_any_name():
    """Behind a public address the token keeps rebinding out, and names are unknown."""
    rules = AccessRules.of((TOKEN,), address="0.0.0.0")
    assert isinstance(asked(rules, host="a.example", authorization=f"Bearer {TOKEN}"), Caller)


def test_foreign_pages_may_not_call():
    """An Origin that is neither ours nor listed is refused; a listed one gets CORS answers."""
    assert asked(OPEN, origin="https://evil.example").status == 403
    assert asked(OPEN, origin="null").status == 403
    assert asked(OPEN, origin="http://127.0.0.1:8080") == Caller("127.0.0.1")
    rules = AccessRules.of((), origins=("https://app.example",))
    assert asked(rules, origin="https://app.example").origin == "https://app.example"


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.4", "agents.example", ""])
def test_an_open_address_without_token_is_refused(address):
    """Whoever binds beyond loopback names a token first."""
    with pytest.raises(ConfigError, match="Everybody"):
        refuse_open(address, (), "ACTRIO_HTTP_TOKEN")
    refuse_open(address, (TOKEN,), "ACTRIO_HTTP_TOKEN")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"])
def test_loopback_addresses_are_known(address):
    """All of loopback counts as this machine."""
    assert is_loopback(address)


def test_tokens_come_from_variable_and_file(tmp_path):
    """Both sources count together."""
    file = tmp_path / "tokens"
    file.write_text("second-token-in-a-file\nthird-token-in-a-file\n")
    settings = HttpSettings(token_file=file)
    found = read_tokens(settings, {"ACTRIO_HTTP_TOKEN": f"{TOKEN}, "})
    assert found == (TOKEN, "second-token-in-a-file", "third-token-in-a-file")


def test_a_short_token_is_refused_without_being_told(tmp_path):
    """A token that can be guessed is a mistake of the operator; the error does not hold it."""
    with pytest.raises(ConfigError) as caught:
        read_tokens(HttpSettings(), {"ACTRIO_HTTP_TOKEN": "hunter2"})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tokens(HttpSettings(token_file=tmp_path / "absent"), {})
