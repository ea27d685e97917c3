// A server of the MCP registry: searched, chosen, its section looked at and checked, then added.
import { api, button, closing, dialog, field, h, id, late, many, paged, table } from "./console.js";
import { editor } from "./server_editor.js";

const KINDS = { http: "Another server, over HTTP", sse: "Another server, over HTTP with SSE", npm: "A program, from npm", pypi: "A program, from PyPI", docker: "A container" };
const pathOf = (name) => name.split("/").map(id).join("/");

// A row in which what stands for a value is replaced by the value.
function filled(row, values) {
  if (Array.isArray(row)) return row.map((each) => filled(each, values));
  if (row && typeof row === "object") return Object.fromEntries(Object.entries(row).map(([key, each]) => [key, filled(each, values)]));
  return typeof row === "string" ? values.reduce((text, [reference, value]) => text.replaceAll(reference, value), row) : row;
}

// One value that the server wants: {element, value}. A secret is not typed here, where it would be in the configuration.
function wanted(input, changed) {
  const variable = input.reference.replace(/^\$\{|\}$/g, "");
  const about = [input.description, input.required ? "" : "Not required."].filter(Boolean).join(" ");
  if (input.secret) return { element: h("p", { class: "note" }, h("strong", {}, input.name), ` is a secret: set the variable ${variable} in the environment of every worker. ${about}`), value: () => null };
  const control = input.choices.length
    ? h("select", {}, h("option", { value: "" }, "—"), input.choices.map((each) => h("option", { selected: each === input.default }, each)))
    : h("input", { value: input.default ?? "", autocomplete: "off" });
  control.addEventListener("input", changed);
  return { element: field(`${input.name}${input.required ? "" : " (optional)"}`, control, `${about} Empty: the variable ${variable} of the workers' environment.`.trim()), value: () => control.value || null };
}

// The section of one way to have the server, with what it wants to know.
function section(details, option, reload, close) {
  if (option.problem) return [h("p", { class: "note bad", role: "alert" }, option.problem), h("div", { class: "buttons" }, closing(close, "Cancel"))];
  const written = editor(null, { name: details.suggested_name, row: option.row }, reload, close);
  const inputs = option.inputs.filter((each) => each.reference);
  const fill = () => {
    const values = inputs.map((each, index) => [each.reference, made[index].value()]).filter(([, value]) => value !== null);
    written.row.value = JSON.stringify(filled(option.row, values), null, 2);
  };
  const made = inputs.map((each) => wanted(each, fill));
  fill();
  return [
    option.notes.map((note) => h("p", { class: "small" }, note)),
    details.taken ? h("p", { class: "note" }, `There is a server or plugin ${details.suggested_name} already: choose another name.`) : "",
    made.map((each) => each.element), written.elements,
  ];
}

async function choose(name, reload) {
  const details = await api(`/registry/servers/${pathOf(name)}`);
  const place = h("div", {});
  await dialog(`Add ${details.title || details.name}`, (close) => {
    const show = (option) => place.replaceChildren(...[section(details, option, reload, close)].flat(9));
    const ways = h("select", {}, details.options.map((each, index) => h("option", { value: index }, `${KINDS[each.kind] ?? each.kind}${each.problem ? ", which cannot be added" : ""}`)));
    ways.addEventListener("change", () => show(details.options[Number(ways.value)]));
    if (details.options.length) show(details.options[0]);
    else place.append(h("p", { class: "note bad", role: "alert" }, "The registry names no way to have this server."), closing(close));
    return [
      h("p", {}, details.description || "The registry says nothing of what it does."),
      h("p", { class: "small soft" }, `${details.name} ${details.version}`, details.status && details.status !== "active" ? ` · ${details.status}${details.status_message ? `: ${details.status_message}` : ""}` : "",
        [["Website", details.website], ["Source", details.repository]].filter(([, url]) => /^https?:/.test(url)).map(([word, url]) => [" · ", h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, word)])),
      details.options.length > 1 ? field("How", ways) : "", place,
    ];
  });
}

export async function fromRegistry(reload) {
  const search = h("input", { type: "search", placeholder: "Part of its name" });
  let chosen = null;
  await dialog("Add from the registry", (close) => {
    const list = paged((cursor) => api(`/registry/servers?search=${id(search.value.trim())}&cursor=${id(cursor)}`), (items, found) => [
      table([
        ["Server", (each) => [each.title || each.name, h("div", { class: "small soft mono" }, each.name)]],
        ["Description", (each) => [each.description || "—", each.status && each.status !== "active" ? h("div", { class: "small bad" }, each.status) : ""]],
        ["Version", (each) => each.version || "—"],
        ["", (each) => button("Choose", async () => { chosen = each.name; close(); }, { label: `Choose ${each.name}` }), "do"],
      ], items, { caption: `${many(items.length, "server")} of ${found.registry}`, empty: "The registry has no server whose name has that in it." }),
      found.unreadable ? h("p", { class: "small soft" }, `${many(found.unreadable, "entry")} of the registry cannot be read.`.replace("entrys", "entries")) : "",
    ]);
    const wrong = h("p", { class: "note bad", role: "alert", hidden: true });
    const look = async () => {
      wrong.hidden = true;
      try { await list.reload(); } catch (error) { wrong.textContent = error.message; wrong.hidden = false; }
    };
    search.addEventListener("input", late(look, 400));
    look();
    return [h("label", {}, h("span", {}, "Search"), search), wrong, list.place, h("div", { class: "buttons" }, closing(close))];
  });
  if (chosen) await choose(chosen, reload);
}
