// Connections and credentials: who is connected to what, and what the vault holds; a value is written, and never shown.
import { api, button, changing, closing, confirmed, dialog, field, h, id, late, many, paged, say, state, table, when } from "./console.js";

const STATES = { connected: ["connected", "good"], expired: ["expired", "late"], reconnect: ["has to connect again", "bad"], not_connected: ["not connected", "plain"] };
const KINDS = { value: "value", account: "account", exchanged: "exchanged token", scopes: "scopes asked for", sign_in: "sign-in", registration: "registration" };

const person = (each) => [each.subject || "anonymous", each.issuer && h("div", { class: "small soft" }, each.issuer)];
const purpose = (each) => each.server ? `server ${each.server}` : each.plugin ? `plugin ${each.plugin}` : "this gateway";
const called = (each) => `${each.name} of ${purpose(each)}`;

// Writes a value; `seen` is the credential that it replaces.
async function write(seen, reload) {
  const plugins = seen ? [] : (await api("/plugins?limit=500")).items.map((each) => each.name);
  const now = seen && await api(`/credentials/${id(seen.id)}`);
  const plugin = h("select", {}, plugins.map((each) => h("option", {}, each)));
  const name = h("input", { required: true, autocomplete: "off", maxlength: 120 });
  const value = h("input", { type: "password", required: true, autocomplete: "new-password", maxlength: 8192 });
  const until = h("input", { type: "datetime-local" });
  const { wrong, attempt } = changing(now?.etag, () => "Somebody replaced the value meanwhile. Save again to put yours in its place.");
  const save = (close) => attempt(async (etag) => {
    const body = { value: value.value, ...(until.value && { expires_at: new Date(until.value).getTime() / 1000 }) };
    const [of, what] = seen ? [seen.plugin, seen.name] : [plugin.value, name.value.trim()];
    try {
      await api(`/plugins/${id(of)}/credentials/${id(what)}`, { method: "PUT", body, etag });
    } catch (error) {
      throw error.status === 428 ? new Error(`${what} of ${of} is there already: replace it in its row.`) : error;
    }
    close(); say(`${what} of ${of} is kept for every worker`); await reload();
  });
  await dialog(seen ? `Replace ${called(seen)}` : "Set a value of a plugin", (close) => h("form", { submit: (event) => { event.preventDefault(); save(close)(); } },
    seen ? "" : [field("Plugin", plugin), field("Name", name, "What the plugin asks for it by.")],
    field("Value", value, "It is encrypted, and nobody is shown it again."),
    field("Until (optional)", until, "After that the plugin has none."), wrong,
    h("div", { class: "buttons" }, h("button", { class: "main", disabled: !seen && !plugins.length }, "Save"), closing(close, "Cancel"))));
}

function connections(reloadAll) {
  const to = h("input", { type: "search", placeholder: "Name of a server or plugin" });
  const subject = h("input", { type: "search", placeholder: "Name of a person" });
  const check = (each) => async () => {
    const found = await api(`/connections/${id(each.id)}/check`, { method: "POST" });
    const [word, kind] = STATES[found.state];
    say(`${each.subject} at ${each.to}: ${word}${found.reason ? `: ${found.reason}` : ""}`, kind === "bad" ? "bad" : "good");
    await list.reload();
  };
  const end = (each) => () => confirmed(`Disconnect ${each.subject} from ${each.to}?`, "What this server holds of the connection is deleted, and it is ended at the provider. Their next call asks them to connect again.", "Disconnect", async () => {
    const { note } = await api(`/connections/${id(each.id)}`, { method: "DELETE" });
    say(`${each.subject} is disconnected from ${each.to}${note ? `. ${note}` : ""}`); await reloadAll();
  });
  const list = paged((cursor) => api(`/connections?limit=50&to=${id(to.value.trim())}&subject=${id(subject.value.trim())}&cursor=${id(cursor)}`), (items, found) => table([
    ["Person", person],
    ["Connected to", (each) => [each.to, each.title && each.title !== each.to && h("div", { class: "small soft" }, each.title)]],
    ["State", (each) => [state(...(STATES[each.state] ?? [each.state, "plain"])), each.reason && h("div", { class: "small" }, each.reason)]],
    ["With", (each) => each.kind === "account" ? ["an account", each.scopes.length ? h("div", { class: "small soft" }, each.scopes.join(" ")) : ""] : ["values of their own", h("div", { class: "small soft" }, each.values.join(", "))]],
    ["Token until", (each) => each.expires_at ? when(each.expires_at) : "—"],
    ["", (each) => [button("Check", check(each), { label: `Check ${each.subject} at ${each.to}` }), " ",
      button("Disconnect", end(each), { kind: "danger", label: `Disconnect ${each.subject} from ${each.to}` })], "do"],
  ], items, { caption: `${items.length} of ${many(found.total, "connection")}`, empty: to.value || subject.value ? "No connection is like that." : "Nobody is connected to a server or plugin with an account or values of their own." }));
  for (const each of [to, subject]) each.addEventListener("input", late(list.reload));
  return { list, shown: [h("h2", {}, "Connections"), h("div", { class: "tools" }, h("label", {}, h("span", {}, "Connected to"), to), h("label", {}, h("span", {}, "Person"), subject)), list.place] };
}

function credentials(reloadAll) {
  const plugin = h("input", { type: "search", placeholder: "Name of a plugin" });
  const server = h("input", { type: "search", placeholder: "Name of a server" });
  const check = (each) => async () => {
    const found = await api(`/credentials/${id(each.id)}/check`, { method: "POST" });
    say(found.ok ? `${called(each)} can be read` : `${called(each)}: ${found.reason}`, found.ok ? "good" : "bad");
  };
  const remove = (each) => () => confirmed(`Delete ${called(each)}?`, "Whoever uses it has none from the next call on.", "Delete", async () => {
    await api(`/credentials/${id(each.id)}`, { method: "DELETE" });
    say(`${called(each)} is deleted`); await reloadAll();
  });
  const replaceable = (each) => each.plugin && each.shared && each.kind === "value";
  const list = paged((cursor) => api(`/credentials?limit=50&plugin=${id(plugin.value.trim())}&server=${id(server.value.trim())}&cursor=${id(cursor)}`), (items, found) => table([
    ["Name", (each) => h("span", { class: "mono" }, each.name)],
    ["For", purpose],
    ["What", (each) => KINDS[each.kind] ?? each.kind],
    ["Of", (each) => each.shared ? "everybody" : person(each)],
    ["State", (each) => each.state === "ok" ? state("kept", "good") : [state("cannot be read", "bad"), h("div", { class: "small" }, "None of VAULT_KEYS is the key that it was encrypted with.")]],
    ["Until", (each) => each.expires_at ? when(each.expires_at) : "—"],
    ["Last used", (each) => each.last_used ? when(each.last_used) : "—"],
    ["", (each) => [button("Check", check(each), { label: `Check ${called(each)}` }), " ",
      replaceable(each) ? [button("Replace", () => write(each, reloadAll), { label: `Replace ${called(each)}` }), " "] : "",
      button("Delete", remove(each), { kind: "danger", label: `Delete ${called(each)}` })], "do"],
  ], items, { caption: `${items.length} of ${many(found.total, "credential")}; their values are never shown`, empty: plugin.value || server.value ? "No credential is like that." : "The vault holds nothing yet." }));
  for (const each of [plugin, server]) each.addEventListener("input", late(list.reload));
  return { list, shown: [h("h2", {}, "Credentials"), h("div", { class: "tools" }, h("label", {}, h("span", {}, "Plugin"), plugin), h("label", {}, h("span", {}, "Server"), server),
    button("Set a value", () => write(null, reloadAll), { kind: "main" })), list.place] };
}

export default async function open(view) {
  const both = async () => { await Promise.all([people.list.reload(), kept.list.reload()]); };
  const people = connections(both);
  const kept = credentials(both);
  view.append(...people.shown, ...kept.shown);
  await both();
}
