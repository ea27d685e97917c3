// Presets: named selections, each with the URL that shows it; made, changed and removed.
import { Problem, api, button, changing, closing, copyable, dialog, field, h, many, nowIs, removing, renew, say, table } from "./console.js";

const LISTS = { servers: "Plugins and servers", allow: "Allow", deny: "Leave out" };
const ABOUT = {
  servers: "Their names, with commas between them; none means all.",
  allow: "Patterns of tools' names, with commas between them, as files-*; none means all.",
  deny: "Patterns as well; stronger than what is allowed.",
};
const list = (text) => text.split(",").map((each) => each.trim()).filter(Boolean);

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

// The state of the configuration that somebody sees, and the presets in it.
async function seenNow() {
  const { etag, document } = await api("/configuration");
  return { etag, presets: document.presets ?? {} };
}

// Writes one preset, or with null takes it away. What others changed elsewhere since `seen` stays as it is; if they changed
// this one, `seen` is what it is now, and a Problem with that is thrown.
async function write(name, preset, seen) {
  for (;;) {
    try { return await api("/configuration", { method: "PATCH", body: { presets: { [name]: preset } }, etag: seen.etag }); } catch (error) {
      if (error.status !== 412) throw error;
      const before = seen.presets[name];
      Object.assign(seen, { etag: error.etag, presets: error.current?.presets ?? {} });
      const now = seen.presets[name];
      if (!same(before, now)) throw new Problem(412, { detail: `${name} was ${!now ? "removed" : before ? "changed" : "made"} meanwhile`, current: now ?? null }, error.etag);
    }
  }
}

async function edit(name, reload) {
  const seen = await seenNow();
  if (name && !seen.presets[name]) throw new Problem(404, { detail: `${name} was removed meanwhile.` }, null);
  const { wrong, attempt } = changing(null, (error) => nowIs(error, name ? "Save again to replace that with what you have written here." : "Choose another name, or change that one."));
  const was = seen.presets[name] ?? {};
  const called = h("input", { value: name ?? "", required: true, disabled: Boolean(name), pattern: "[a-z0-9][a-z0-9\\-]*", autocomplete: "off" });
  const description = h("input", { value: was.description ?? "" });
  const tags = h("input", { value: was.tags ?? "", placeholder: "web,!danger", autocomplete: "off" });
  const lists = Object.fromEntries(Object.keys(LISTS).map((each) => [each, h("input", { value: (was[each] ?? []).join(", "), autocomplete: "off" })]));
  await dialog(name ? `Change ${name}` : "Make a preset", (close) => {
    const save = attempt(async () => {
      if (!name && seen.presets[called.value]) throw new Error(`There is a preset ${called.value} already: choose another name, or change that one.`);
      const some = Object.fromEntries(Object.entries(lists).map(([key, input]) => [key, list(input.value).length ? list(input.value) : null]));
      await write(called.value, { description: description.value || null, tags: tags.value.trim() || null, ...some }, seen);
      close(); say(`${called.value} is ${name ? "changed" : "made"} on every worker`); await reload();
    });
    return h("form", { submit: (event) => { event.preventDefault(); save(); } },
      field("Name", called, "Small letters, digits and dashes: it stands in the URL."), field("Description", description),
      field("Tags", tags, "web,docs is either of them, !danger leaves out, web,!danger is both."),
      Object.entries(LISTS).map(([key, label]) => field(label, lists[key], ABOUT[key])), wrong,
      h("div", { class: "buttons" }, h("button", { class: "main" }, name ? "Save" : "Make"), closing(close, "Cancel")));
  });
}

export default async function open(view) {
  const place = h("div", {});
  let presets = [];
  const remove = async (each) => {
    const seen = await seenNow();
    await removing(each.name, "Clients that use its URL are refused.", seen.presets[each.name], async () => {
      await write(each.name, null, seen);
      say(`${each.name} is removed`); await reload();
    });
  };
  async function reload() {
    presets = (await api("/presets")).items;
    renew(place, table([
      ["Preset", (each) => [each.name, each.description && h("div", { class: "small soft" }, each.description)]],
      ["URL", (each) => copyable(each.url, `the URL of ${each.name}`)],
      ["Selects", (each) => h("code", {}, JSON.stringify(each.selects))],
      ["", (each) => [button("Change", () => edit(each.name, reload), { label: `Change ${each.name}` }), " ",
        button("Remove", () => remove(each), { kind: "danger", label: `Remove ${each.name}` })], "do"],
    ], presets, { caption: many(presets.length, "preset"), empty: "No presets yet: make one, and give its URL to those who need only some of the tools." }));
  }
  view.append(h("div", { class: "tools" }, button("Make a preset", () => edit("", reload), { kind: "main" })), place);
  await reload();
}
