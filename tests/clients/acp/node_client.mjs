// Drives an agent through the protocol's TypeScript SDK, and prints what came of it as JSON.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { Readable, Writable } from "node:stream";
import { pathToFileURL } from "node:url";

const [packages, commandText, folder] = process.argv.slice(2);
const found = createRequire(`${packages}/`).resolve("@agentclientprotocol/sdk");
const acp = await import(pathToFileURL(found).href);
const command = JSON.parse(commandText);
const { agent: ask, client: tell } = acp.methods;

const seen = { updates: [], asked: [], read: [], choose: "allow_once", wake: () => {} };
const kinds = () => seen.updates.map((each) => each.sessionUpdate);
const text = (kind = "agent_message_chunk") =>
  seen.updates.filter((each) => each.sessionUpdate === kind).map((each) => each.content.text).join("");
const prompt = (words) => [{ type: "text", text: words }];

async function until(happened) {
  while (!happened()) await new Promise((wake) => (seen.wake = wake));
}

const editor = acp
  .client({ name: "test" })
  .onNotification(tell.session.update, ({ params }) => {
    seen.updates.push(params.update);
    seen.wake();
  })
  .onRequest(tell.session.requestPermission, ({ params }) => {
    seen.asked.push([params.toolCall.toolCallId, params.options.map((each) => each.kind)]);
    seen.wake();
    if (seen.choose === null) return { outcome: { outcome: "cancelled" } };
    return { outcome: { outcome: "selected", optionId: seen.choose } };
  })
  .onRequest(tell.fs.readTextFile, ({ params }) => {
    seen.read.push(params.path);
    return { content: "lamp = on" };
  });

async function connected(work) {
  const child = spawn(command[0], [...command.slice(1), "--agent", "clerk"], {
    cwd: folder,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const stream = acp.ndJsonStream(Writable.toWeb(child.stdin), Readable.toWeb(child.stdout));
  await editor.connectWith(stream, async (agent) => {
    const told = await agent.request(ask.initialize, {
      protocolVersion: acp.PROTOCOL_VERSION,
      clientCapabilities: { fs: { readTextFile: true, writeTextFile: false } },
    });
    await work(agent, told);
  });
  child.stdin.end();
  return await ended;
}

const report = {};
let sessionId;

report.exit = await connected(async (agent, told) => {
  report.version = told.protocolVersion;
  report.load = told.agentCapabilities.loadSession;
  ({ sessionId } = await agent.request(ask.session.new, { cwd: folder, mcpServers: [] }));
  const say = (words, options) =>
    agent.request(ask.session.prompt, { sessionId, prompt: prompt(words) }, options);
  const setModel = (value) =>
    agent.request(ask.session.setConfigOption, { sessionId, configId: "model", value });

  let answer = await say("My lamp came broken.");
  report.allowed = [answer.stopReason, kinds(), text(), seen.asked];
  seen.choose = "reject_once";
  seen.updates = [];
  answer = await say("Once more.");
  report.rejected = [answer.stopReason, text()];
  seen.choose = null;
  report.dismissed = (await say("And again.")).stopReason;

  report.model = (await setModel("scripted:demo?tool=read_file")).configOptions[0].currentValue;
  report.read = [(await say("Read.")).stopReason, seen.read.length];

  await setModel("scripted:tokens?itl=20ms&tokens=500");
  seen.updates = [];
  const running = say("Count.");
  await until(() => kinds().includes("agent_message_chunk"));
  await agent.notify(ask.session.cancel, { sessionId });
  report.cancelled = (await running).stopReason;

  seen.updates = [];
  const abort = new AbortController();
  const given = say("Count.", { cancellationSignal: abort.signal }).catch((error) => error);
  await until(() => kinds().includes("agent_message_chunk"));
  abort.abort();
  report.takenBack = (await given).code;

  const nobody = { sessionId: "s_nobody", cwd: folder, mcpServers: [] };
  report.unknown = (await agent.request(ask.session.load, nobody).catch((error) => error)).code;
  const { sessions } = await agent.request(ask.session.list, {});
  report.listed = sessions.length === 1 && sessions[0].sessionId === sessionId;
});

seen.updates = [];
await connected(async (agent) => {
  await agent.request(ask.session.load, { sessionId, cwd: folder, mcpServers: [] });
  report.loaded = [kinds().slice(0, 4), text("user_message_chunk")];
  seen.updates = [];
  await agent.request(ask.session.close, { sessionId });
  await agent.request(ask.session.resume, { sessionId, cwd: folder, mcpServers: [] });
  report.resumed = kinds();
  await agent.request(ask.session.delete, { sessionId });
  report.deleted = (await agent.request(ask.session.list, {})).sessions.length;
});

console.log(JSON.stringify(report));
