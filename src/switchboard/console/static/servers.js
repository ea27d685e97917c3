// Servers: how each is doing, what it said last, and changes of them.
import { api, button, closing, dialog, failed, h, id, late, many, paged, removing, say, state, table } from "./console.js";
import { choosing, confirmedForAll, oneByOne } from "./bulk.js";
import { kindOf } from "./held.js";
import { fromRegistry } from "./registry.js";
import { editor } from "./server_editor.js";

// The worst of what the workers say, since that is what somebody has to look at.
function condition(server) {
  if (server.problem) return ["not valid", "bad", server.problem];
  if (!server.enabled) return ["disabled", "plain", ""];
  const rows = Object.entries(server.workers);
  const bad = rows.find(([, each]) => kindOf(each.condition || each.phase) === "bad");
  if (bad) return [bad[1].condition || bad[1].phase, "bad", `${bad[0]}: ${bad[1].reason}`];
  const word = rows.map(([, each]) => each.condition || each.phase)[0] ?? "unknown";
  return [word, kindOf(word), rows.map(([, each]) => each.reason).find(Boolean) ?? ""];
}

const MOST = 500; // servers of one request
const NEW = { name: "", row: { command: "npx", args: ["-y", "@modelcontextprotocol/server-everything"] } };
const edit = (server, reload) => dialog(server ? `Change ${server.name}` : "Add a server", (close) => editor(server, server ?? NEW, reload, close).elements);

// What a server said on each worker, live: it is asked again, and read on at its end unless somebody scrolled up.
function logs(server) {
  const place = h("div", {}, "Loading…");
  const shown = new Map();
  let timer;
  const load = async () => {
    try {
      const found = Object.entries((await api(`/servers/${id(server.name)}/logs`)).workers);
      if ([...shown.keys()].join() !== found.map(([worker]) => worker).join() || !found.length) {
        shown.clear();
        for (const [worker] of found) shown.set(worker, h("pre", { tabindex: 0, "aria-label": `Of ${server.name} on ${worker}` }));
        place.replaceChildren(...(found.length ? found.map(([worker]) => h("section", {}, h("h3", { class: "mono" }, worker), shown.get(worker))) : [h("p", {}, "It runs on no worker that answers.")]));
      }
      for (const [worker, lines] of found) {
        const text = [...lines.steps, ...lines.stderr].join("\n") || "It has said nothing.";
        const pre = shown.get(worker);
        const atEnd = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 8;
        if (pre.textContent !== text) { pre.textContent = text; if (atEnd) pre.scrollTop = pre.scrollHeight; }
      }
    } catch (error) { failed(error); clearInterval(timer); }
  };
  load();
  timer = setInterval(load, 1000);
  return dialog(`What ${server.name} said last`, (close) => [place, h("div", { class: "buttons" }, closing(close))]).then(() => clearInterval(timer));
}

export default async function open(view) {
  const search = h("input", { type: "search", "aria-label": "Search servers", placeholder: "Name, source or tag" });
  const act = (server, verb, done) => async () => {
    await api(`/servers/${id(server.name)}/${verb}`, { method: "POST" });
    say(`${server.name} ${done} on every worker`);
    await reload();
  };
  const buttons = (server) => h("span", {},
    server.enabled ? [button("Restart", act(server, "restart", "is started anew"), { label: `Restart ${server.name}` }), " "] : "",
    server.enabled ? button("Disable", act(server, "disable", "is switched off"), { label: `Disable ${server.name}`, spot: `switch ${server.name}` })
      : button("Enable", act(server, "enable", "is switched on"), { label: `Enable ${server.name}`, spot: `switch ${server.name}` }), " ",
    button("Logs", () => logs(server), { changes: false, label: `Logs of ${server.name}` }), " ",
    button("Change", async () => edit(await api(`/servers/${id(server.name)}`), reload), { label: `Change ${server.name}` }), " ",
    button("Remove", async () => {
      const now = await api(`/servers/${id(server.name)}`);
      await removing(server.name, "Its tools disappear for every client.", now.row, async (etag) => {
        await api(`/servers/${id(server.name)}`, { method: "DELETE", etag });
        say(`${server.name} is removed`); await reload();
      }, now.etag);
    }, { kind: "danger", label: `Remove ${server.name}` }));

  // Of the servers that are shown, and what can be done to several.
  let names = {};
  const switched = (enabled) => async (ids, told) => {
    for (let start = 0; start < ids.length; start += MOST) {
      const found = await api("/servers/switch", { method: "POST", body: { names: ids.slice(start, start + MOST), enabled } });
      for (const each of found.items) told(each.name, each.done ? null : new Error(each.reason));
    }
  };
  const forAll = (verb, about, act) => async (rows) => {
    const begun = await confirmedForAll(`${verb} ${many(rows.size, "server")}?`, about, verb, rows, act);
    if (begun) await reload();
    return begun;
  };
  const several = choosing("server", () => names, [
    ["Enable", forAll("Enable", "They are started on every worker, as one change of the configuration.", switched(true))],
    ["Disable", forAll("Disable", "Their tools disappear for every client until they are enabled again. It is one change of the configuration.", switched(false)), "danger"],
    ["Restart", forAll("Restart", "Each is started anew on every worker; what runs there is given a moment to end.", oneByOne((name) => api(`/servers/${id(name)}/restart`, { method: "POST" })))],
  ]);
  const list = paged((cursor) => api(`/servers?limit=100&search=${id(search.value.trim())}&cursor=${id(cursor)}`), (items, found) => (names = Object.fromEntries(items.map(({ name }) => [name, name])), table([
    ["Server", (each) => [several.box(each.name, each.name), " ", each.name, each.description && h("div", { class: "small soft" }, each.description), each.tags.map((tag) => h("span", { class: "tag" }, tag))]],
    ["State", (each) => { const [word, kind, why] = condition(each); return [state(word, kind), why && h("div", { class: "small" }, why), each.notes.map((note) => h("div", { class: "small soft" }, note))]; }],
    ["Source", (each) => each.source || "—"],
    ["Workers", (each) => Object.keys(each.workers).length, "number"],
    ["", buttons, "do"],
  ], items, {
    caption: `${items.length} of ${many(found.total, "server")}`,
    empty: search.value ? "No server is like that." : "No servers yet: add one from the registry, or by its command or URL.",
  })));
  const reload = () => list.reload();
  search.addEventListener("input", late(reload));
  view.append(h("div", { class: "tools" }, h("label", {}, h("span", {}, "Search"), search),
    button("Add from the registry", () => fromRegistry(reload), { kind: "main" }), button("Add a server", () => edit(null, reload)), button("Look again", reload, { changes: false })), several.bar, list.place);
  await reload();
  setInterval(() => { if (!document.querySelector("dialog[open]") && list.atFirst()) reload().catch(() => {}); }, 5000);
}
