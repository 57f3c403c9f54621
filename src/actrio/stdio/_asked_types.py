"""What the server asks of the client, and what the client answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

__all__ = [
    "ApprovalAnswer",
    "ApprovalRequest",
    "QuestionAnswer",
    "QuestionAsk",
    "ToolAnswer",
    "ToolCallRequest",
]


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class ApprovalRequest:
    """`approval/request`: may this call run?

    Attributes:
        session: Whose turn waits.
        turn: Which turn.
        approval: Its id.
        call: The call, with `id`, `name` and `arguments` (JSON text).
        question: What is asked, in words.
    """

    session: str
    turn: str
    approval: str
    call: Mapping[str, Any] | None
    question: str = ""


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class ApprovalAnswer:
    """The client's result of `approval/request`.

    Attributes:
        decision: Whether it may.
        note: For the model to read.
        by: Who decided.
    """

    decision: Literal["approved", "denied"]
    note: str = ""
    by: str = ""


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class QuestionAsk:
    """`question/ask`: what a tool wants to know.

    Attributes:
        session: Whose turn waits.
        turn: Which turn.
        approval: Its id.
        question: What is asked.
        choices: Answers to choose from; empty where any is good.
    """

    session: str
    turn: str
    approval: str
    question: str
    choices: list[str]


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class QuestionAnswer:
    """The client's result of `question/ask`.

    Attributes:
        answer: The answer; left out where nobody answers.
        by: Who answered.
    """

    answer: str | None = None
    by: str = ""


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class ToolCallRequest:
    """`tool/call`: run one of the client's tools.

    Attributes:
        session: Whose turn calls it.
        turn: Which turn.
        call: The call's id.
        tool: The tool's name.
        arguments: Its arguments, as its schema has them.
    """

    session: str
    turn: str
    call: str
    tool: str
    arguments: Mapping[str, Any]


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class ToolAnswer:
    """The client's result of `tool/call`.

    Attributes:
        text: What the model reads.
        value: In place of `text`: any JSON; the model reads it as JSON.
        error: Whether the tool failed.
    """

    text: str | None = None
    value: Any = None
    error: bool = False
