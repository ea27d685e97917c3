// Tools: found by name, looked at, tried.
import { Problem, api, base, button, closing, dialog, failed, h, id, late, many, paged, parsed, table } from "./console.js";
import { fields } from "./forms.js";
import { call } from "./mcp.js";

// Ask the person what a tool wants to know; resolves with the answer.
function asked(question) {
  const params = question.params ?? {};
  return new Promise((resolve) => {
    let answer = { action: "cancel" };
    if (question.method !== "elicitation/create") { resolve(answer); return; }
    dialog("The tool asks", (close) => {
      const finish = (given) => () => { answer = given; close(); };
      if (params.mode === "url") {
        return [h("p", {}, params.message), h("p", {}, h("a", { href: /^https?:/.test(params.url) ? params.url : null, target: "_blank", rel: "noopener noreferrer" }, params.url)),
          h("div", { class: "buttons" }, button("I have done it", finish({ action: "accept" }), { kind: "main", changes: false }), button("Decline", finish({ action: "decline" }), { changes: false }))];
      }
      const form = fields(params.requestedSchema);
      return h("form", { submit: (event) => { event.preventDefault(); try { finish({ action: "accept", content: form.read() })(); } catch (error) { failed(error); } } },
        h("p", {}, params.message), form.elements,
        h("div", { class: "buttons" }, h("button", { class: "main" }, "Answer"), button("Decline", finish({ action: "decline" }), { changes: false })));
    }).then(() => resolve(answer));
  });
}

function shown(result) {
  const parts = (result.content ?? []).map((each) => {
    if (each.type === "text") return h("pre", { tabindex: 0 }, each.text);
    if (each.type === "image") return h("p", {}, h("img", { src: `data:${each.mimeType};base64,${each.data}`, alt: "An image that the tool gave" }));
    return h("pre", { tabindex: 0 }, JSON.stringify({ ...each, ...(each.data && { data: `${each.data.length} characters of base64` }) }, null, 2));
  });
  if (result.structuredContent) parts.push(h("details", {}, h("summary", {}, "As structured content"), h("pre", { tabindex: 0 }, JSON.stringify(result.structuredContent, null, 2))));
  return [h("p", { class: result.isError ? "bad" : "done" }, result.isError ? "The tool says that it failed." : "Done."), parts];
}

async function look(name) {
  const tool = await api(`/tools/${id(name)}`);
  const { definition } = tool;
  const form = fields(definition.inputSchema);
  const raw = h("textarea", { class: "code", rows: 6, spellcheck: "false", "aria-label": "Arguments as JSON", hidden: true });
  const typed = h("div", {}, form.elements);
  const outcome = h("div", { role: "status" });
  const bar = h("progress", { hidden: true, "aria-label": "Progress of the call" });
  const log = h("pre", { hidden: true, tabindex: 0 });
  let running = null;
  const given = () => {
    if (raw.hidden) return form.read();
    return parsed(raw.value || "{}", "The arguments are");
  };
  const told = (message) => {
    const { params } = message;
    if (message.method === "notifications/progress") {
      bar.hidden = false;
      if (params.total) { bar.max = params.total; bar.value = params.progress; }
    }
    log.hidden = false;
    log.textContent += `${params?.message ?? (typeof params?.data === "string" ? params.data : JSON.stringify(params?.data ?? params ?? {}))}\n`;
  };
  async function run() {
    running = new AbortController();
    outcome.replaceChildren(h("p", { class: "soft" }, "Running…"));
    log.hidden = bar.hidden = true; log.textContent = ""; bar.removeAttribute("value");
    const began = performance.now();
    try {
      const result = await call(name, given(), { schema: definition.inputSchema, told, ask: asked, signal: running.signal });
      outcome.replaceChildren(...[shown(result)].flat(9), h("p", { class: "small soft" }, `${Math.round(performance.now() - began)} ms`));
    } catch (error) {
      const said = error.name === "AbortError" ? "Cancelled." : error.message;
      outcome.replaceChildren(h("p", { class: "note bad", role: "alert" }, said));
      if (!(error instanceof Problem) && error.name !== "AbortError") console.warn(error.message);
    } finally { running = null; bar.hidden = true; }
  }
  const submit = (event) => { event.preventDefault(); if (!running) run(); };
  await dialog(name, (close) => [
    h("p", {}, tool.description || "It says nothing of what it does."),
    h("p", { class: "small soft" }, `Answered by ${tool.provider} as ${tool.own_name} · costs a model about ${tool.tokens} tokens`),
    h("p", { class: "small", id: "offered" }, `Offered to every token with ${["mcp:tools", ...tool.scopes].join(" and ")}`, ` at ${base.replace(/admin$/, "mcp")}`,
      tool.presets.length ? [", and by the presets ", tool.presets.map((each, index) => [index ? ", " : "", h("a", { href: `${base}/presets` }, each)])] : ", and by no preset",
      tool.tags.length ? [". Tags: ", tool.tags.map((tag) => h("span", { class: "tag" }, tag))] : "."),
    h("details", {}, h("summary", {}, "Schema"), h("pre", { tabindex: 0 }, JSON.stringify(definition.inputSchema, null, 2))),
    h("h3", {}, "Try it"),
    h("form", { submit }, typed, raw,
      h("div", { class: "buttons" }, h("button", { class: "main" }, "Call"),
        button("Cancel the call", async () => running?.abort(), { changes: false }),
        button("Write JSON instead", async () => {
          if (raw.hidden) { try { raw.value = JSON.stringify(form.read(), null, 2); } catch { raw.value = "{}"; } }
          typed.hidden = raw.hidden; raw.hidden = !raw.hidden;
          for (const each of typed.querySelectorAll("input, select, textarea")) each.disabled = typed.hidden;
        }, { changes: false }), closing(close))),
    bar, log, outcome,
  ]);
  running?.abort();
}

export default async function open(view) {
  const search = h("input", { type: "search", placeholder: "Part of a name" });
  const list = paged((cursor) => api(`/tools?limit=100&search=${id(search.value.trim())}&cursor=${id(cursor)}`), (items, found) => table([
    ["Tool", (each) => [h("span", { class: "mono" }, each.name), each.title && h("div", { class: "small soft" }, each.title)]],
    ["From", (each) => each.provider],
    ["Description", (each) => each.description.length > 160 ? `${each.description.slice(0, 160)}…` : each.description || "—"],
    ["Tokens", (each) => String(each.tokens), "number"],
    ["", (each) => button("Try", () => look(each.name), { changes: false, label: `Try ${each.name}` }), "do"],
  ], items, { caption: `${items.length} of ${many(found.total, "tool")}`, empty: search.value ? "No tool's name has that in it." : "No plugin or server offers a tool now." }));
  search.addEventListener("input", late(list.reload));
  view.append(h("div", { class: "tools" }, h("label", {}, h("span", {}, "Search"), search)), list.place);
  await list.reload();
}
