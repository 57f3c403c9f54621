from __future__ import annotations

import base64

import pytest

from actrio.agents import Agent
from actrio.tools import ToolContext, tool

SLOW = "scripted:tokens?itl=20ms&tokens=500"


@tool(approval="ask")
async def refund(order: str) -> str:
    """Pay a customer's money back."""
    return f"paid for {order}"


@tool(read_only=True)
async def look(order: str) -> str:
    """Look an order up."""
    return f"{order} is a lamp"


@tool
async def which(context: ToolContext) -> str:
    """Ask which order is meant."""
    return await context.ask_person("Which order?", ["A-17", "A-18"])


CLERK = Agent("clerk", model="scripted:demo", tools=[refund])


def select(option: str):
    return {"result": {"outcome": {"outcome": "selected", "optionId": option}}}


async def test_what_is_advertised_is_what_there_is(edit):
    """Version 1 whatever the client speaks, and only what is built is among the capabilities."""
    async with edit(initialize=False) as editor:
        told = await editor.call("initialize", protocolVersion=7)
        assert told["protocolVersion"] == 1
        able = told["agentCapabilities"]
        assert able["loadSession"] is True
        assert able["promptCapabilities"] == {
            "image": True,
            "audio": False,
            "embeddedContext": True,
        }
        assert able["mcpCapabilities"] == {"http": False, "sse": False}
        assert set(able["sessionCapabilities"]) == {"list", "resume", "close", "delete"}
        assert told["authMethods"] == []


async def test_nothing_is_answered_before_initialize(edit):
    """Any other method is refused until then, and a second initialize is too."""
    async with edit(initialize=False) as editor:
        assert (await editor.error("session/new", cwd="/x"))["code"] == -32005
        await editor.call("initialize", protocolVersion=1)
        assert (await editor.error("initialize", protocolVersion=1))["code"] == -32005


async def test_prompt_is_streamed_and_ends(edit):
    """The model's words come as chunks of one message; the answer is the line behind the last."""
    async with edit("scripted:tokens?tokens=3&itl=1ms") as editor:
        session = await editor.new()
        assert await editor.ask(session) == "end_turn"
        assert editor.text() == "w1 w2 w3"
        assert len({each["messageId"] for each in editor.updates("agent_message_chunk")}) == 1
        assert "result" in editor.seen[-1]


async def test_tool_call_is_told_from_its_beginning_to_its_result(edit):
    """A call that needs no leave is in progress at once; its result is its content."""
    agent = Agent("clerk", model="scripted:demo", tools=[look])
    async with edit(agent) as editor:
        session = await editor.new()
        assert await editor.ask(session) == "end_turn"
        (begun,) = editor.updates("tool_call")
        assert begun["title"] == "look"
        assert begun["kind"] == "read"
        assert begun["status"] == "in_progress"
        assert set(begun["rawInput"]) == {"order"}
        (ended,) = editor.updates("tool_call_update")
        assert ended["toolCallId"] == begun["toolCallId"]
        assert ended["status"] == "completed"
        assert ended["content"][0]["content"]["text"].endswith("is a lamp")


@pytest.mark.parametrize(
    ("option", "status"), [("allow_once", "completed"), ("reject_once", "failed")]
)
async def test_permission_decides_whether_a_tool_runs(edit, option, status):
    """The user is shown the pending call; what is rejected does not run, and the model is told."""
    async with edit(CLERK) as editor:
        editor.answers["session/request_permission"] = select(option)
        session = await editor.new()
        assert await editor.ask(session) == "end_turn"
        (asked,) = editor.requests
        assert asked["params"]["sessionId"] == session
        assert asked["params"]["toolCall"]["status"] == "pending"
        assert (
            asked["params"]["toolCall"]["toolCallId"]
            == (editor.updates("tool_call")[0]["toolCallId"])
        )
        assert [each["kind"] for each in asked["params"]["options"]] == [
            "allow_once",
            "allow_always",
            "reject_once",
            "reject_always",
        ]
        assert editor.updates("tool_call_update")[-1]["status"] == status
        assert ("Not run" in editor.text()) == (status == "failed")


@pytest.mark.parametrize(
    ("option", "status"), [("allow_always", "completed"), ("reject_always", "failed")]
)
async def test_always_holds_for_the_session_and_tool(edit, option, status):
    """Decided once for all, nobody is asked again in that session; in another one they are."""
    async with edit(CLERK) as editor:
        editor.answers["session/request_permission"] = select(option)
        session = await editor.new()
        for _ in range(3):
            await editor.ask(session)
            assert editor.updates("tool_call_update")[-1]["status"] == status
        assert len(editor.requests) == 1
        await editor.ask(await editor.new())
        assert len(editor.requests) == 2


async def test_client_that_cannot_ask_denies(edit):
    """An error in the place of a decision is a denial, and the turn goes on."""
    async with edit(CLERK) as editor:
        refused = {"error": {"code": -32601, "message": "no such method"}}
        editor.answers["session/request_permission"] = refused
        session = await editor.new()
        assert await editor.ask(session) == "end_turn"
        assert "could not ask: " in editor.text()


async def test_cancel_during_a_permission(edit):
    """The prompt ends as cancelled, its open question is withdrawn, and the session goes on."""
    async with edit(CLERK) as editor:
        session = await editor.new()
        prompt = await editor.prompt(session)
        asked = await editor.until_request("session/request_permission")
        await editor.notify("session/cancel", sessionId=session)
        await editor.send(
            {"jsonrpc": "2.0", "id": asked["id"], "result": {"outcome": {"outcome": "cancelled"}}}
        )
        assert (await editor.answer(prompt))["result"] == {"stopReason": "cancelled"}
        assert editor.updates("tool_call_update")[-1]["status"] == "failed"
        editor.answers["session/request_permission"] = select("allow_once")
        assert await editor.ask(session) == "end_turn"


async def test_outcome_cancelled_alone_cancels_the_prompt(edit):
    """A client that only answers "cancelled" means the turn, because the protocol says so."""
    async with edit(CLERK) as editor:
        editor.answers["session/request_permission"] = {
            "result": {"outcome": {"outcome": "cancelled"}}
        }
        assert await editor.ask(await editor.new()) == "cancelled"


async def test_cancel_in_the_middle(edit):
    """session/cancel ends the running prompt, and those that wait behind it, as cancelled."""
    async with edit(SLOW) as editor:
        session = await editor.new()
        prompts = [await editor.prompt(session) for _ in range(3)]
        await editor.until_update("agent_message_chunk")
        await editor.notify("session/cancel", sessionId=session)
        for prompt in prompts:
            assert (await editor.answer(prompt))["result"] == {"stopReason": "cancelled"}


async def test_cancel_before_anything_has_begun(edit):
    """A prompt and its cancel in one write: the prompt ends as cancelled all the same."""
    async with edit(SLOW) as editor:
        session = await editor.new()
        for _ in range(5):
            editor.last_id += 1
            block = {"type": "text", "text": "x"}
            await editor.send(
                {
                    "id": editor.last_id,
                    "method": "session/prompt",
                    "params": {"sessionId": session, "prompt": [block]},
                },
                {"method": "session/cancel", "params": {"sessionId": session}},
            )
            answer = await editor.answer(editor.last_id)
            assert answer["result"] == {"stopReason": "cancelled"}


async def test_request_is_taken_back(edit):
    """$/cancel_request on a prompt is answered with -32800, behind what its turn still said."""
    async with edit(SLOW) as editor:
        session = await editor.new()
        prompt = await editor.prompt(session)
        await editor.until_update("agent_message_chunk")
        await editor.notify("$/cancel_request", requestId=prompt)
        assert (await editor.answer(prompt))["error"]["code"] == -32800


async def test_cancelled_wins_over_the_providers_error(edit):
    """A prompt that was cancelled is answered so, also where its provider failed meanwhile."""
    async with edit("scripted:tokens?itl=5ms&tokens=50&fault=cut@40") as editor:
        session = await editor.new()
        prompt = await editor.prompt(session)
        await editor.until_update("agent_message_chunk")
        await editor.notify("session/cancel", sessionId=session)
        assert (await editor.answer(prompt))["result"] == {"stopReason": "cancelled"}


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("scripted:tokens?fault=cut@2", -32003),
        ("scripted:tokens?fault=status401", -32000),
        ("openai:gpt-4o", -32000),
        ("scripted:tokens?fault=context", -32007),
        ("nobody:x", -32002),
    ],
)
async def test_failure_is_an_error_of_the_prompt(edit, model, code):
    """What fails a turn answers the prompt with what to do; a missing key is -32000."""
    async with edit(model) as editor:
        session = await editor.new()
        answer = await editor.answer(await editor.prompt(session))
        assert answer["error"]["code"] == code
        assert answer["error"]["data"]["message"]
        if model.startswith("openai"):
            assert "OPENAI_API_KEY" in answer["error"]["message"]


async def test_steps_used_up(edit):
    """An agent that runs out of steps says max_turn_requests."""
    agent = Agent("clerk", model="scripted:demo", tools=[look], steps_max=1)
    async with edit(agent) as editor:
        assert await editor.ask(await editor.new()) == "max_turn_requests"


async def test_session_is_loaded_by_another_process(edit):
    """The whole conversation comes again, before the answer, with the same ids as when it happened."""
    agent = Agent("clerk", model="scripted:demo", tools=[look])
    async with edit(agent) as editor:
        session = await editor.new()
        await editor.ask(session, "First.")
        live = editor.updates()
        await editor.ask(session, "Second.")
    async with edit(agent) as editor:
        told = await editor.load(session)
        assert told["configOptions"][0]["currentValue"] == "scripted:demo"
        assert [each["content"]["text"] for each in editor.updates("user_message_chunk")] == [
            "First.",
            "Second.",
        ]
        assert [each["toolCallId"] for each in editor.updates("tool_call")][:1] == [
            each["toolCallId"] for each in live if each["sessionUpdate"] == "tool_call"
        ]
        assert {each["status"] for each in editor.updates("tool_call_update")} == {"completed"}
        said = {
            each["messageId"] for each in live if each["sessionUpdate"] == "agent_message_chunk"
        }
        again = [each["messageId"] for each in editor.updates("agent_message_chunk")]
        assert said == set(again[:1])
        assert "result" in editor.seen[-1]
        assert await editor.ask(session, "Third.") == "end_turn"


async def test_session_is_resumed_without_replay(edit):
    """session/resume tells nothing of the past, and the model knows it all the same."""
    async with edit() as editor:
        session = await editor.new()
        await editor.ask(session, "Remember me.")
    async with edit() as editor:
        await editor.call("session/resume", sessionId=session, cwd="/elsewhere")
        assert editor.updates() == []
        await editor.ask(session, "Again.")
        await editor.load(session)
        assert editor.text("user_message_chunk") == "Remember me.Again."


async def test_unknown_and_foreign_sessions_are_refused(edit):
    """-32002 for what is not there, -32004 for another agent's, each with what to do."""
    async with edit() as editor:
        params = {"sessionId": "s_nobody", "cwd": "/x", "mcpServers": []}
        assert (await editor.error("session/load", **params))["code"] == -32002
        assert (await editor.error("session/resume", **params))["code"] == -32002
        prompt = [{"type": "text", "text": "x"}]
        error = await editor.error("session/prompt", sessionId="s_nobody", prompt=prompt)
        assert error["code"] == -32002
        assert (await editor.error("session/close", sessionId="s_nobody"))["code"] == -32002
        assert (await editor.error("session/delete", sessionId="s_nobody"))["code"] == -32002
        session = await editor.new()
        await editor.ask(session)
    async with edit(Agent("other", model="scripted:echo")) as editor:
        params = {"sessionId": session, "cwd": "/x", "mcpServers": []}
        error = await editor.error("session/load", **params)
        assert error["code"] == -32004
        assert "--agent" in error["data"]["remedy"]


async def test_sessions_are_listed_with_folder_title_and_time(edit):
    """Only those of editors, by folder where that is asked for."""
    async with edit() as editor:
        one = await editor.new()
        await editor.ask(one, "Where is my lamp?\nIt is blue.")
        two = (await editor.call("session/new", cwd="/else", mcpServers=[]))["sessionId"]
        sessions = (await editor.call("session/list"))["sessions"]
        assert {each["sessionId"] for each in sessions} == {one, two}
        titled = next(each for each in sessions if each["sessionId"] == one)
        assert titled["title"] == "Where is my lamp?"
        assert titled["updatedAt"].endswith("+00:00")
        (only,) = (await editor.call("session/list", cwd="/else"))["sessions"]
        assert only["sessionId"] == two
        assert (await editor.call("session/list", cursor="t"))["sessions"] == []


async def test_closed_session_can_be_loaded_and_a_deleted_one_not(edit):
    """Closing cancels what runs and keeps the session; deleting takes it out of the list."""
    async with edit(SLOW) as editor:
        session = await editor.new()
        prompt = await editor.prompt(session)
        await editor.until_update("agent_message_chunk")
        assert await editor.call("session/close", sessionId=session) == {}
        assert (await editor.answer(prompt))["result"] == {"stopReason": "cancelled"}
        await editor.load(session)
        assert await editor.call("session/delete", sessionId=session) == {}
        assert (await editor.call("session/list"))["sessions"] == []
        params = {"sessionId": session, "cwd": "/x", "mcpServers": []}
        assert (await editor.error("session/load", **params))["code"] == -32002


async def test_model_is_chosen_between_prompts_and_kept(edit):
    """The option counts from the next prompt on, for that session alone, and in later processes."""
    async with edit("scripted:echo") as editor:
        session, other = await editor.new(), await editor.new()
        await editor.ask(session, "One.")
        told = await editor.call(
            "session/set_config_option",
            sessionId=session,
            configId="model",
            value="scripted:tokens?tokens=2",
        )
        (option,) = told["configOptions"]
        assert option["currentValue"] == "scripted:tokens?tokens=2"
        assert {"scripted:echo", "scripted:demo"} <= {each["value"] for each in option["options"]}
        await editor.ask(session, "Two.")
        await editor.ask(other, "Three.")
        assert editor.text() == "One.w1 w2Three."
    async with edit("scripted:echo") as editor:
        told = await editor.load(session)
        assert told["configOptions"][0]["currentValue"] == "scripted:tokens?tokens=2"
        editor.seen.clear()
        await editor.ask(session, "Four.")
        assert editor.text() == "w1 w2"


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("model", "nobody:x", -32002),
        ("model", "openai:gpt-4o", -32000),
        ("model", "plain", -32602),
        ("model", True, -32602),
        ("mode", "plan", -32602),
    ],
)
async def test_wrong_config_options_change_nothing(edit, option, value, code):
    """An option or model that there is not is refused, and the session stays as it was."""
    async with edit() as editor:
        session = await editor.new()
        error = await editor.error(
            "session/set_config_option", sessionId=session, configId=option, value=value
        )
        assert error["code"] == code
        assert await editor.ask(session) == "end_turn"


async def test_model_may_be_chosen_while_a_prompt_runs(edit):
    """It is answered at once; the running turn goes on as it was, the next one has the new model."""
    async with edit("scripted:tokens?itl=5ms&tokens=40") as editor:
        session = await editor.new()
        running = await editor.prompt(session)
        await editor.until_update("agent_message_chunk")
        await editor.call(
            "session/set_config_option", sessionId=session, configId="model", value="scripted:echo"
        )
        assert not [each for each in editor.seen if each.get("id") == running]
        await editor.answer(running)
        editor.seen.clear()
        await editor.ask(session, "Next.")
        assert editor.text() == "Next."


async def test_content_of_all_sorts_reaches_the_model(edit):
    """Text, links and embedded text are read; a picture is kept and comes again when loaded."""
    picture = base64.b64encode(b"\x89PNG....").decode()
    blocks = [
        {"type": "text", "text": "See "},
        {"type": "resource_link", "name": "lamp.py", "uri": "file:///lamp.py"},
        {"type": "resource", "resource": {"uri": "file:///a.txt", "text": "on or off"}},
        {"type": "image", "mimeType": "image/png", "data": picture},
    ]
    async with edit() as editor:
        session = await editor.new()
        answer = await editor.answer(
            await editor.request("session/prompt", sessionId=session, prompt=blocks)
        )
        assert answer["result"]["stopReason"] == "end_turn"
        assert "[lamp.py](file:///lamp.py)" in editor.text()
        assert "on or off" in editor.text()
        await editor.load(session)
        images = [
            each["content"]
            for each in editor.updates("user_message_chunk")
            if each["content"]["type"] == "image"
        ]
        assert [each["data"] for each in images] == [picture]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "audio", "mimeType": "audio/wav", "data": ""},
        {"type": "image", "mimeType": "image/png", "data": "not base64!"},
        {"type": "video"},
        {"type": "resource", "resource": {"uri": "file:///a"}},
        {"text": "no type"},
    ],
)
async def test_content_that_cannot_be_taken(edit, block):
    """It is refused as wrong parameters, and the session takes the next prompt."""
    async with edit() as editor:
        session = await editor.new()
        error = await editor.error("session/prompt", sessionId=session, prompt=[block])
        assert error["code"] == -32602
        assert await editor.ask(session) == "end_turn"


async def test_empty_prompt_is_refused(edit):
    """A prompt without content is the client's mistake."""
    async with edit() as editor:
        session = await editor.new()
        assert (await editor.error("session/prompt", sessionId=session, prompt=[]))[
            "code"
        ] == -32602


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({}, []),
        ({"readTextFile": True}, ["read_file"]),
        ({"readTextFile": True, "writeTextFile": True}, ["read_file", "write_file"]),
    ],
)
async def test_file_tools_are_there_only_where_the_client_lends_its_files(edit, declared, expected):
    """The model is offered exactly what the client declared."""
    seen = []
    for name in ("read_file", "write_file"):
        async with edit(f"scripted:demo?tool={name}", fs=declared) as editor:
            editor.answers |= {
                "fs/read_text_file": {"result": {"content": "lamp = on"}},
                "fs/write_text_file": {"result": {}},
                "session/request_permission": select("allow_once"),
            }
            await editor.ask(await editor.new())
            if any(each["method"].startswith("fs/") for each in editor.requests):
                seen.append(name)
    assert seen == expected


async def test_file_is_read_from_the_editor(edit):
    """A relative path counts from the session's folder; the content is the tool's result."""
    async with edit("scripted:demo?tool=read_file", fs={"readTextFile": True}) as editor:
        editor.answers["fs/read_text_file"] = {"result": {"content": "lamp = on"}}
        session = await editor.new()
        assert await editor.ask(session) == "end_turn"
        (asked,) = editor.requests
        assert asked["params"]["sessionId"] == session
        assert asked["params"]["path"].startswith("/home/ada/shop/")
        (begun,) = editor.updates("tool_call")
        assert begun["kind"] == "read"
        assert begun["locations"] == [{"path": asked["params"]["path"]}]
        assert "lamp = on" in editor.text()


async def test_file_that_the_editor_refuses(edit):
    """The editor's error is the tool's, and the model is told."""
    async with edit("scripted:demo?tool=read_file", fs={"readTextFile": True}) as editor:
        refused = {"error": {"code": -32002, "message": "no such file"}}
        editor.answers["fs/read_text_file"] = refused
        assert await editor.ask(await editor.new()) == "end_turn"
        assert editor.updates("tool_call_update")[-1]["status"] == "failed"
        assert "no such file" in editor.text()


async def test_file_is_written_with_leave_only(edit):
    """The user sees the change as a diff; what is rejected never reaches the editor's files."""
    fs = {"readTextFile": True, "writeTextFile": True}
    for option, written in (("allow_once", 1), ("reject_once", 0)):
        async with edit("scripted:demo?tool=write_file", fs=fs) as editor:
            editor.answers |= {
                "session/request_permission": select(option),
                "fs/write_text_file": {"result": None},
            }
            await editor.ask(await editor.new())
            (asked,) = (m for m in editor.requests if m["method"] == "session/request_permission")
            (diff,) = asked["params"]["toolCall"]["content"]
            assert diff["type"] == "diff"
            assert asked["params"]["toolCall"]["kind"] == "edit"
            calls = [each for each in editor.requests if each["method"] == "fs/write_text_file"]
            assert len(calls) == written


async def test_question_of_a_tool_is_a_form_where_the_client_has_forms(edit):
    """A tool's own question becomes elicitation/create, with its choices."""
    agent = Agent("clerk", model="scripted:demo", tools=[which])
    async with edit(agent, elicitation={"form": {}}) as editor:
        editor.answers["elicitation/create"] = {
            "result": {"action": "accept", "content": {"answer": "A-18"}}
        }
        await editor.ask(await editor.new())
        (asked,) = editor.requests
        assert asked["params"]["message"] == "Which order?"
        schema = asked["params"]["requestedSchema"]
        assert schema["properties"]["answer"]["enum"] == ["A-17", "A-18"]
        assert "A-18" in editor.text()


async def test_question_of_a_tool_without_forms_is_denied(edit):
    """Nothing hangs: the tool fails, and the model is told."""
    agent = Agent("clerk", model="scripted:demo", tools=[which])
    async with edit(agent) as editor:
        assert await editor.ask(await editor.new()) == "end_turn"
        assert editor.requests == []
        assert "did not answer" in editor.text()


async def test_servers_that_are_not_connected_to_are_told(edit):
    """MCP servers do not stop a session; a client that shows notices gets one."""
    server = {"name": "x", "command": "x", "args": [], "env": []}
    for able in ({}, {"session": {"notices": {}}}):
        async with edit(**able) as editor:
            told = await editor.call("session/new", cwd="/x", mcpServers=[server])
            assert await editor.ask(told["sessionId"]) == "end_turn"
            assert len(editor.updates("notice")) == len(able)


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("session/new", {"cwd": "relative", "mcpServers": []}, -32602),
        ("session/new", {"mcpServers": []}, -32602),
        ("session/new", {"cwd": 5}, -32602),
        ("session/prompt", {"sessionId": "x"}, -32602),
        ("authenticate", {"methodId": "x"}, -32602),
        ("session/set_mode", {"sessionId": "x", "modeId": "plan"}, -32601),
        ("_vendor/thing", {}, -32601),
    ],
)
async def test_wrong_requests(edit, method, params, code):
    """Each is answered with its code; the connection goes on."""
    async with edit() as editor:
        assert (await editor.error(method, **params))["code"] == code
        assert await editor.ask(await editor.new()) == "end_turn"


async def test_sessions_stream_beside_each_other(edit):
    """Prompts of several sessions run at once, and each session's updates are its own."""
    async with edit("scripted:tokens?itl=5ms&tokens=20") as editor:
        sessions = [await editor.new() for _ in range(5)]
        prompts = [await editor.prompt(each) for each in sessions]
        for prompt in prompts:
            assert (await editor.answer(prompt))["result"]["stopReason"] == "end_turn"
        told = [
            message["params"]["sessionId"]
            for message in editor.seen
            if message.get("method") == "session/update"
        ]
        assert set(told) == set(sessions)
        assert told != sorted(told)


async def test_long_answers_are_cut_into_lines(edit):
    """A text longer than a chunk leaves as several, and nothing of it is lost."""
    async with edit() as editor:
        text = "".join(f"<{number}>" for number in range(40_000))
        assert await editor.ask(await editor.new(), text) == "end_turn"
        assert editor.text() == text
        assert max(len(each["content"]["text"]) for each in editor.updates()) <= 64 * 1024
