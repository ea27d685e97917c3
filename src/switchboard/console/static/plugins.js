// Plugins: how each is doing, switched on and off, configured.
import { api, button, changing, closing, dialog, field, h, id, many, nowIs, paged, parsed, say, state, table } from "./console.js";

function condition(plugin) {
  if (!plugin.enabled) return ["disabled", "plain", ""];
  const rows = Object.entries(plugin.workers);
  const bad = rows.find(([, each]) => each.phase === "failed" || each.reason);
  if (bad) return [bad[1].serving ? "serving as before" : "failed", "bad", `${bad[0]}: ${bad[1].reason}`];
  return rows.length ? ["running", "good", ""] : ["unknown", "late", ""];
}

function configure(plugin, reload) {
  const row = h("textarea", { class: "code", rows: 10, spellcheck: "false" });
  const { wrong, attempt } = changing(plugin.etag, (error) => nowIs(error, "Save again to replace its configuration with what you have written here."));
  row.value = JSON.stringify(plugin.row.config ?? {}, null, 2);
  return dialog(`Configure ${plugin.name}`, (close) => [
    field("Its configuration, as JSON", row, "What its model refuses changes nothing."), wrong,
    h("div", { class: "buttons" }, button("Save", attempt(async (etag) => {
      await api(`/plugins/${id(plugin.name)}/config`, { method: "PUT", body: parsed(row.value), etag });
      close(); say(`${plugin.name} is configured on every worker`); await reload();
    }), { kind: "main" }), closing(close, "Cancel")),
  ]);
}

export default async function open(view) {
  const act = (plugin, verb, done) => async () => {
    await api(`/plugins/${id(plugin.name)}/${verb}`, { method: "POST" });
    say(`${plugin.name} is ${done} on every worker`); await reload();
  };
  const list = paged((cursor) => api(`/plugins?limit=100&cursor=${id(cursor)}`), (items, found) => table([
    ["Plugin", (each) => [each.name, each.description && h("div", { class: "small soft" }, each.description)]],
    ["State", (each) => { const [word, kind, why] = condition(each); return [state(word, kind), why && h("div", { class: "small" }, why)]; }],
    ["Version", (each) => Object.values(each.workers).map((worker) => worker.version).find(Boolean) ?? "—"],
    ["", (each) => h("span", {},
      each.enabled ? button("Disable", act(each, "disable", "switched off"), { label: `Disable ${each.name}`, spot: `switch ${each.name}` }) : button("Enable", act(each, "enable", "switched on"), { label: `Enable ${each.name}`, spot: `switch ${each.name}` }), " ",
      button("Configure", async () => configure(await api(`/plugins/${id(each.name)}`), reload), { label: `Configure ${each.name}` })), "do"],
  ], items, { caption: `${items.length} of ${many(found.total, "plugin")}`, empty: "No plugins: see docs/plugins.md for a tool of your own." }));
  const reload = () => list.reload();
  view.append(h("div", { class: "tools" }, button("Look again", reload, { changes: false })), list.place);
  await reload();
}
