from __future__ import annotations

import json as json_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.telemetry import RedactSecrets, redact

ENV = {
    "OPENAI_API_KEY": "value-of-the-key-1234",
    "BOT_TOKEN": "tok-of-the-bot",
    "MY_SECRET": "a secret with spaces",
    "DB_PASSWORD": "hunter2",
    "HOME": "/home/somebody",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key value-of-the-key-1234 was refused", "key [redacted] was refused"),
        ("x=tok-of-the-bot!", "x=[redacted]!"),
        ("it is a secret with spaces, yes", "it is [redacted], yes"),
        ("hunter2 is too short to be hidden", "hunter2 is too short to be hidden"),
        ("/home/somebody is no secret", "/home/somebody is no secret"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer [redacted]"),
        ("Authorization: Basic dXNlcjpwdw==", "Authorization: Basic [redacted]"),
        ("{'authorization': 'Bearer abc'}", "{'authorization': 'Bearer [redacted]'}"),
        ("bearer abcdefgh12345", "bearer [redacted]"),
        ("used sk-proj-abcdefghijklmnop here", "used [redacted] here"),
        ("gsk_abcdefghijklmnop", "[redacted]"),
        ("AIzaSyA1234567890abcdefghij", "[redacted]"),
        ("http://user:passw0rd@host/x", "http://user:[redacted]@host/x"),
        ("api_key=abcdef and more", "api_key=[redacted] and more"),
        ('{"api_key": "abcdef"}', '{"api_key": "[redacted]"}'),
        ("a task-based plan, a basic idea", "a task-based plan, a basic idea"),
    ],
)
def test_secrets_leave_the_text_and_nothing_else_does(text: str, expected: str) -> None:
    """Each sort of secret becomes [redacted]; ordinary words stay."""
    assert redact(text, env=ENV) == expected


def test_redact_reads_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a given environment the process's own is used, as it is now."""
    monkeypatch.setenv("SOME_API_KEY", "present-in-the-process")
    assert redact("x present-in-the-process") == "x [redacted]"


secret_values = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\"'\\"), min_size=8
).filter(lambda secret: secret not in "[redacted]")


@given(secret_values, st.text(), st.text())
def test_a_secret_never_survives(secret: str, before: str, after: str) -> None:
    """Wherever a variable's value stands in a text, it is not in the result."""
    env = {"A_TOKEN": secret}
    told = redact(f"{before}{secret}{after}", env=env)
    assert secret not in told.replace("[redacted]", "\0")


@given(secret_values)
def test_a_secret_never_survives_in_an_event(secret: str) -> None:
    """Nested values, keys named like secrets, and reprs of objects are covered."""

    class Holder:
        def __repr__(self) -> str:
            return f"<Holder of {secret}>"

    event: dict[str, Any] = {
        "event": f"x {secret} y",
        "nested": [{"deep": (secret, {secret})}, Holder(), secret.encode()],
        "error": ValueError(secret),
    }
    cleaned = RedactSecrets({"A_TOKEN": secret})(None, "info", event)
    assert secret not in json_module.dumps(cleaned, default=repr).replace("[redacted]", "\0")


def test_fields_named_like_secrets_are_hidden_by_name() -> None:
    """What stands under api_key, token, password and the like is hidden whatever it is."""
    event = {"api_key": "x", "headers": {"Authorization": ["a"]}, "tokens": 3, "token": None}
    cleaned = RedactSecrets({})(None, "info", event)
    assert cleaned == {
        "api_key": "[redacted]",
        "headers": {"Authorization": "[redacted]"},
        "tokens": 3,
        "token": None,
    }


def test_a_value_that_holds_itself_ends() -> None:
    """A loop in the data is cut, not followed."""
    loop: list[Any] = []
    loop.append(loop)
    cleaned = RedactSecrets({})(None, "info", {"loop": loop})
    assert "…" in repr(cleaned)
