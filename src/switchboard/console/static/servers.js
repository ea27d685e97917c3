// Servers: how each is doing, what it said last, and changes of them.
import { api, button, changing, closing, confirmed, dialog, failed, field, h, id, late, nowIs, parsed, renew, say, state, table } from "./console.js";
import { SERVER_STATES } from "./fleet.js";

const SHOWN = 200;

// The worst of what the workers say, since that is what somebody has to look at.
function condition(server) {
  if (server.problem) return ["not valid", "bad", server.problem];
  if (!server.enabled) return ["disabled", "plain", ""];
  const rows = Object.entries(server.workers);
  const bad = rows.find(([, each]) => each.phase === "failed" || /open|down|fail|dead|unhealthy/.test(each.condition));
  if (bad) return [bad[1].condition || bad[1].phase, "bad", `${bad[0]}: ${bad[1].reason}`];
  const word = rows.map(([, each]) => each.condition || each.phase)[0] ?? "unknown";
  return [word, SERVER_STATES[word] ?? "late", rows.map(([, each]) => each.reason).find(Boolean) ?? ""];
}

function edit(server, reload) {
  const row = h("textarea", { class: "code", rows: 12, spellcheck: "false" });
  const name = h("input", { value: server?.name ?? "", required: true, disabled: Boolean(server), autocomplete: "off" });
  row.value = JSON.stringify(server?.row ?? { command: "npx", args: ["-y", "@modelcontextprotocol/server-everything"] }, null, 2);
  const { wrong, attempt } = changing(server?.etag, (error) => nowIs(error, "Save again to replace that with what you have written here."));
  const check = attempt(async () => {
    const found = await api("/configuration/check", { method: "POST", body: { mcpServers: { [name.value]: parsed(row.value) } } });
    if (!found.valid) throw new Error(found.reasons.join("\n"));
    say("This would be valid");
  });
  return dialog(server ? `Change ${server.name}` : "Add a server", (close) => [
    field("Name", name, "Letters, digits and dashes: what its tools' names begin with."),
    field("As the configuration file has it, below mcpServers", row, "A program: command, args, env. Another server: url. ${VARIABLE} stands for a variable of the workers' environment: keep secrets there."),
    wrong,
    h("div", { class: "buttons" },
      button(server ? "Save" : "Add", attempt(async (etag) => {
        await api(`/servers/${id(name.value.trim())}`, { method: "PUT", body: parsed(row.value), etag });
        close(); say(`${name.value} is ${server ? "changed" : "added"} on every worker`); await reload();
      }), { kind: "main" }),
      button("Check first", check), closing(close, "Cancel")),
  ]);
}

function logs(server) {
  const place = h("div", { "aria-live": "off" }, "Loading…");
  let timer;
  const load = async () => {
    try {
      const found = Object.entries((await api(`/servers/${id(server.name)}/logs`)).workers);
      renew(place, ...(found.length ? found.map(([worker, lines]) => h("section", {},
        h("h3", { class: "mono" }, worker), h("pre", { tabindex: 0 }, [...lines.steps, ...lines.stderr].join("\n") || "It has said nothing."))) : [h("p", {}, "It runs on no worker that answers.")]));
    } catch (error) { failed(error); clearInterval(timer); }
  };
  load();
  timer = setInterval(load, 2000);
  return dialog(`What ${server.name} said last`, (close) => [place, h("div", { class: "buttons" }, closing(close))]).then(() => clearInterval(timer));
}

export default async function open(view) {
  const search = h("input", { type: "search", "aria-label": "Search servers", placeholder: "Name, source or tag" });
  const list = h("div", {});
  let servers = [];
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
    button("Remove", () => confirmed(`Remove ${server.name}?`, "Its tools disappear for every client.", "Remove", async () => {
      const now = await api(`/servers/${id(server.name)}`);
      await api(`/servers/${id(server.name)}`, { method: "DELETE", etag: now.etag });
      say(`${server.name} is removed`); await reload();
    }), { kind: "danger", label: `Remove ${server.name}` }));

  function show() {
    const wanted = search.value.trim().toLowerCase();
    const found = servers.filter((each) => !wanted || [each.name, each.source, each.description, ...each.tags].join(" ").toLowerCase().includes(wanted));
    renew(list, table([
      ["Server", (each) => [each.name, each.description && h("div", { class: "small soft" }, each.description), each.tags.map((tag) => h("span", { class: "tag" }, tag))]],
      ["State", (each) => { const [word, kind, why] = condition(each); return [state(word, kind), why && h("div", { class: "small" }, why), each.notes.map((note) => h("div", { class: "small soft" }, note))]; }],
      ["Source", (each) => each.source || "—"],
      ["Workers", (each) => Object.keys(each.workers).length, "number"],
      ["", buttons, "do"],
    ], found.slice(0, SHOWN), {
      caption: found.length > SHOWN ? `The first ${SHOWN} of ${found.length} servers: search for others` : `${found.length} of ${servers.length} servers`,
      empty: servers.length ? "No server is like that." : "No servers yet: add one by its command or URL.",
    }));
  }
  async function reload() { servers = (await api("/servers")).items; show(); }
  search.addEventListener("input", late(show, 100));
  view.append(h("div", { class: "tools" }, h("label", {}, h("span", {}, "Search"), search), button("Add a server", () => edit(null, reload), { kind: "main" }), button("Look again", reload, { changes: false })), list);
  await reload();
  setInterval(() => { if (!document.querySelector("dialog[open]") && !list.contains(document.activeElement)) reload().catch(() => {}); }, 5000);
}
