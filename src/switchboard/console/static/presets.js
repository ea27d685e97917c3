// Presets: named selections, each with the URL that shows it; made, changed and removed.
import { api, button, changing, closing, confirmed, copyable, dialog, field, h, many, renew, say, table } from "./console.js";

const LISTS = { servers: "Plugins and servers", allow: "Allow", deny: "Leave out" };
const ABOUT = {
  servers: "Their names, with commas between them; none means all.",
  allow: "Patterns of tools' names, with commas between them, as files-*; none means all.",
  deny: "Patterns as well; stronger than what is allowed.",
};
const list = (text) => text.split(",").map((each) => each.trim()).filter(Boolean);

// Writes one preset, or with null takes it away; `etag` is the state of the configuration that was seen.
const write = (name, preset, etag) => api("/configuration", { method: "PATCH", body: { presets: { [name]: preset } }, etag });

async function edit(preset, taken, reload) {
  const { etag: seen } = await api("/configuration");
  const { wrong, attempt } = changing(seen, () => "Somebody changed the configuration meanwhile. Save again to put this into what it is now.");
  const was = preset?.selects ?? {};
  const name = h("input", { value: preset?.name ?? "", required: true, disabled: Boolean(preset), pattern: "[a-z0-9][a-z0-9\\-]*", autocomplete: "off" });
  const description = h("input", { value: preset?.description ?? "" });
  const tags = h("input", { value: was.tags ?? "", placeholder: "web,!danger", autocomplete: "off" });
  const lists = Object.fromEntries(Object.keys(LISTS).map((each) => [each, h("input", { value: (was[each] ?? []).join(", "), autocomplete: "off" })]));
  await dialog(preset ? `Change ${preset.name}` : "Make a preset", (close) => {
    const save = attempt(async (etag) => {
      if (!preset && taken.includes(name.value)) throw new Error(`There is a preset ${name.value} already: choose another name, or change that one.`);
      const some = Object.fromEntries(Object.entries(lists).map(([key, input]) => [key, list(input.value).length ? list(input.value) : null]));
      await write(name.value, { description: description.value || null, tags: tags.value.trim() || null, ...some }, etag);
      close(); say(`${name.value} is ${preset ? "changed" : "made"} on every worker`); await reload();
    });
    return h("form", { submit: (event) => { event.preventDefault(); save(); } },
      field("Name", name, "Small letters, digits and dashes: it stands in the URL."), field("Description", description),
      field("Tags", tags, "web,docs is either of them, !danger leaves out, web,!danger is both."),
      Object.entries(LISTS).map(([key, label]) => field(label, lists[key], ABOUT[key])), wrong,
      h("div", { class: "buttons" }, h("button", { class: "main" }, preset ? "Save" : "Make"), closing(close, "Cancel")));
  });
}

export default async function open(view) {
  const place = h("div", {});
  let presets = [];
  const remove = (each) => confirmed(`Remove ${each.name}?`, "Clients that use its URL are refused.", "Remove", async () => {
    const { etag } = await api("/configuration");
    await write(each.name, null, etag);
    say(`${each.name} is removed`); await reload();
  });
  async function reload() {
    presets = (await api("/presets")).items;
    renew(place, table([
      ["Preset", (each) => [each.name, each.description && h("div", { class: "small soft" }, each.description)]],
      ["URL", (each) => copyable(each.url, `the URL of ${each.name}`)],
      ["Selects", (each) => h("code", {}, JSON.stringify(each.selects))],
      ["", (each) => [button("Change", () => edit(each, [], reload), { label: `Change ${each.name}` }), " ",
        button("Remove", () => remove(each), { kind: "danger", label: `Remove ${each.name}` })], "do"],
    ], presets, { caption: many(presets.length, "preset"), empty: "No presets yet: make one, and give its URL to those who need only some of the tools." }));
  }
  view.append(h("div", { class: "tools" }, button("Make a preset", () => edit(null, presets.map((each) => each.name), reload), { kind: "main" })), place);
  await reload();
}
