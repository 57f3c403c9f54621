"""Drives an agent through the protocol's Python SDK, and prints what came of it as JSON.

It runs in a Python of its own, because the SDK needs asyncio.
"""

import asyncio
import json
import os
import sys

from acp.schema import (
    AllowedOutcome,
    ClientCapabilities,
    DeniedOutcome,
    FileSystemCapabilities,
    ReadTextFileResponse,
    RequestPermissionResponse,
)

import acp


class Editor(acp.Client):
    def __init__(self):
        self.updates = []
        self.asked = []
        self.read = []
        self.choose = "allow_once"
        self.happened = asyncio.Event()

    def on_connect(self, conn):
        pass

    async def session_update(self, session_id, update, **kwargs):
        self.updates.append(update)
        self.happened.set()

    async def request_permission(self, session_id, tool_call, options, **kwargs):
        self.asked.append([tool_call.tool_call_id, [each.kind for each in options]])
        self.happened.set()
        if self.choose is None:
            return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))
        if self.choose == "wait":
            await asyncio.Event().wait()
        outcome = AllowedOutcome(outcome="selected", option_id=self.choose)
        return RequestPermissionResponse(outcome=outcome)

    async def read_text_file(self, session_id, path, line=None, limit=None, **kwargs):
        self.read.append(path)
        return ReadTextFileResponse(content="lamp = on")

    def kinds(self):
        return [each.session_update for each in self.updates]

    def text(self, kind="agent_message_chunk"):
        return "".join(each.content.text for each in self.updates if each.session_update == kind)

    async def until(self, kind):
        while kind not in self.kinds():
            self.happened.clear()
            await self.happened.wait()


async def main(command, folder):
    report = {}
    editor = Editor()

    def started(*arguments):
        return acp.spawn_agent_process(editor, *command, *arguments, cwd=folder, env=os.environ)

    files = ClientCapabilities(fs=FileSystemCapabilities(read_text_file=True))
    async with started("--agent", "clerk") as (agent, process):
        told = await agent.initialize(acp.PROTOCOL_VERSION, client_capabilities=files)
        report["version"] = told.protocol_version
        report["load"] = told.agent_capabilities.load_session
        session = (await agent.new_session(folder)).session_id
        answer = await agent.prompt(session, [acp.text_block("My lamp came broken.")])
        report["allowed"] = [answer.stop_reason, editor.kinds(), editor.text(), editor.asked]
        editor.choose, editor.updates = "reject_once", []
        answer = await agent.prompt(session, [acp.text_block("Once more.")])
        report["rejected"] = [answer.stop_reason, editor.text()]
        editor.choose, editor.updates = None, []
        answer = await agent.prompt(session, [acp.text_block("And again.")])
        report["dismissed"] = answer.stop_reason
        options = await agent.set_config_option("model", session, "scripted:demo?tool=read_file")
        report["model"] = options.config_options[0].current_value
        answer = await agent.prompt(session, [acp.text_block("Read.")])
        report["read"] = [answer.stop_reason, len(editor.read)]
        slow = "scripted:tokens?itl=20ms&tokens=500"
        await agent.set_config_option("model", session, slow)
        editor.updates = []
        prompt = asyncio.create_task(agent.prompt(session, [acp.text_block("Count.")]))
        await editor.until("agent_message_chunk")
        await agent.cancel(session)
        report["cancelled"] = (await prompt).stop_reason
        try:
            await agent.load_session(folder, "s_nobody")
        except acp.RequestError as error:
            report["unknown"] = error.code
        listed = await agent.list_sessions()
        report["listed"] = [each.session_id for each in listed.sessions] == [session]
    report["exit"] = process.returncode
    editor.updates = []
    async with started("--agent", "clerk") as (agent, process):
        await agent.initialize(acp.PROTOCOL_VERSION)
        await agent.load_session(cwd=folder, session_id=session)
        report["loaded"] = [editor.kinds()[:4], editor.text("user_message_chunk")]
        editor.updates = []
        await agent.close_session(session)
        await agent.resume_session(cwd=folder, session_id=session)
        report["resumed"] = editor.kinds()
    print(json.dumps(report))


asyncio.run(main(json.loads(sys.argv[1]), sys.argv[2]))
