// Presets: named selections, each with the URL that shows it.
import { api, base, copyable, h, table } from "./console.js";

export default async function open(view) {
  const found = (await api("/presets")).items;
  view.append(table([
    ["Preset", (each) => [each.name, each.description && h("div", { class: "small soft" }, each.description)]],
    ["URL", (each) => copyable(each.url, `the URL of ${each.name}`)],
    ["Selects", (each) => h("code", {}, JSON.stringify(each.selects))],
  ], found, {
    caption: `${found.length} presets`,
    empty: ["No presets yet. Add one below ", h("code", {}, "presets"), " in the ", h("a", { href: `${base}/configuration` }, "configuration"), ": {\"presets\": {\"few\": {\"tags\": \"read\"}}}."],
  }));
}
