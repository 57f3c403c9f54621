"""Native routes: what waits for a person."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from actrio.errors import NotFound
from actrio.http._call import Answer, Call, json_answer
from actrio.http._native_types import AnswerBody
from actrio.http._operations import Operation, Parameter, Reply
from actrio.wire import plain

__all__ = ["APPROVALS"]

_ANSWER: Final = msgspec.json.Decoder(AnswerBody)
_PAGE_MAX: Final = 1000
_PAGES_SEARCHED_MAX: Final = 10
"""Ten thousand sessions that wait; whoever has more names the session."""


async def _list(call: Call) -> Answer:
    limit = call.count("limit", 100, most=_PAGE_MAX)
    found = await call.desk.runtime.approvals(after=call.query("after") or "", limit=limit)
    sessions = dict.fromkeys(each.session for each in found)
    after = next(reversed(sessions)) if len(sessions) >= limit else ""
    return json_answer({"approvals": [plain(each) for each in found], "next": after})


async def _answer(call: Call) -> Answer:
    body: AnswerBody = await call.read(_ANSWER)
    approval = call.path["approval"]
    session = body.session or await _session_of(call, approval)
    await call.desk.runtime.answer(
        session,
        approval,
        body.decision,
        answer=body.answer,
        by=call.caller.name,
        note=body.note,
    )
    return json_answer({"approval": approval, "session": session, "decision": body.decision})


async def _session_of(call: Call, approval: str) -> str:
    after = ""
    for _ in range(_PAGES_SEARCHED_MAX):
        found = await call.desk.runtime.approvals(after=after, limit=_PAGE_MAX)
        for each in found:
            if each.approval == approval:
                return each.session
        if not found:
            break
        after = max(each.session for each in found)
    raise NotFound(
        f"Nothing waits under {approval[:100]!r}: it was decided, or its turn has ended.",
        remedy="GET /v1/approvals lists what waits.",
    )


APPROVALS = (
    Operation(
        id="listApprovals",
        method="GET",
        path="/v1/approvals",
        summary="What waits for a person, in all sessions, asleep or not.",
        tag="approvals",
        endpoint=_list,
        parameters=(
            Parameter("after", "Begin behind this session's id."),
            Parameter(
                "limit",
                "Most sessions of one answer.",
                schema={"type": "integer", "minimum": 1, "maximum": _PAGE_MAX},
            ),
        ),
        replies={200: Reply("What waits.", dict[str, Any])},
        fails=(507,),
    ),
    Operation(
        id="answerApproval",
        method="POST",
        path="/v1/approvals/{approval}",
        summary="Decide it; the session wakes.",
        tag="approvals",
        endpoint=_answer,
        body=AnswerBody,
        replies={200: Reply("It is decided.", dict[str, Any])},
        fails=(404, 409, 507),
    ),
)
