// One request of an MCP client of 2026-07-28, for the browser's session: progress and questions on the way.
import { Problem, request } from "./console.js";

const VERSION = "2026-07-28";
const PREFIX = "io.modelcontextprotocol/";
let last = 0;

// What the server sends, one message at a time: one JSON body, or the events of a stream.
async function* messages(response) {
  if (!(response.headers.get("Content-Type") ?? "").startsWith("text/event-stream")) {
    const text = await response.text();
    try { yield JSON.parse(text); } catch { throw new Problem(response.status, { detail: text.slice(0, 300) || `The server answered ${response.status}` }, null); }
    return;
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split(/\r?\n\r?\n/);
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart()).join("\n");
      if (data) yield JSON.parse(data);
    }
  }
}

// Arguments that the tool wants in headers, too (SEP-2243: `x-mcp-header` in its schema).
function headersOf(schema, given) {
  const wanted = Object.entries(schema?.properties ?? {}).filter(([name, each]) => each["x-mcp-header"] && given[name] !== undefined);
  const encoded = (text) => /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(text) ? text : `=?base64?${btoa(String.fromCharCode(...new TextEncoder().encode(text)))}?=`;
  return Object.fromEntries(wanted.map(([name, each]) => [`Mcp-Param-${each["x-mcp-header"]}`, encoded(String(given[name]))]));
}

async function once(params, { name, schema, told, signal }) {
  const id = ++last;
  const meta = {
    [`${PREFIX}protocolVersion`]: VERSION, [`${PREFIX}clientInfo`]: { name: "switchboard-console", version: "1" },
    [`${PREFIX}clientCapabilities`]: { elicitation: { form: {}, url: {} } }, progressToken: id,
  };
  const response = await request("/mcp", {
    method: "POST", signal,
    headers: { "Content-Type": "application/json", Accept: "application/json, text/event-stream", "MCP-Protocol-Version": VERSION, "Mcp-Method": "tools/call", "Mcp-Name": name, ...headersOf(schema, params.arguments) },
    body: JSON.stringify({ jsonrpc: "2.0", id, method: "tools/call", params: { ...params, _meta: meta } }),
  });
  for await (const message of messages(response)) {
    if (message.error) throw new Problem(response.status, { detail: `${message.error.message} (${message.error.code})` }, null);
    if (message.id === id) return message.result;
    told(message);
  }
  throw new Problem(0, { detail: "The server ended its answer too early. Try again." }, null);
}

// Call a tool. `told` hears notifications; `ask(question)` gives the answer to one: {action, content?}.
export async function call(name, given, { schema, told, ask, signal }) {
  let more = {};
  for (;;) {
    const result = await once({ name, arguments: given, ...more }, { name, schema, told, signal });
    if (result.resultType !== "input_required" && !result.inputRequests) return result;
    const answers = {};
    for (const [key, question] of Object.entries(result.inputRequests ?? {})) answers[key] = await ask(question);
    more = { ...(Object.keys(answers).length && { inputResponses: answers }), ...(result.requestState && { requestState: result.requestState }) };
  }
}
