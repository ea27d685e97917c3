// The row of a server as it is written: checked, added, changed.
import { api, button, changing, closing, field, h, id, many, nowIs, parsed, say } from "./console.js";

// The fields in which a row is written, checked and put: of `server`, or of a new one that begins as `start` {name, row}.
export function editor(server, start, reload, close) {
  const row = h("textarea", { class: "code", rows: 12, spellcheck: "false" });
  const name = h("input", { value: start.name, required: true, disabled: Boolean(server), autocomplete: "off" });
  row.value = JSON.stringify(start.row, null, 2);
  const { wrong, attempt } = changing(server?.etag, (error) => nowIs(error, "Save again to replace that with what you have written here."));
  const named = () => {
    if (!name.value.trim()) throw new Error("Give it a name.");
    return name.value.trim();
  };
  const check = attempt(async () => {
    const found = await api(`/servers/${id(named())}/check`, { method: "POST", body: parsed(row.value) });
    if (!found.valid) throw new Error(found.reasons.join("\n"));
    if (found.outcome === "fails") throw new Error(`This would be valid, but the server does not answer:\n${found.reasons.join("\n")}`);
    say(found.outcome === "answers" ? `This would be valid, and the server answers: ${many(found.tools, "tool")}, ${many(found.resources, "resource")}, ${many(found.prompts, "prompt")}`
      : "This would be valid. It was not tried: it has to be installed first, or needs a credential");
  });
  const save = attempt(async (etag) => {
    try { await api(`/servers/${id(named())}`, { method: "PUT", body: parsed(row.value), etag }); } catch (error) {
      throw error.status === 428 ? new Error(`There is a server ${named()} already: choose another name, or change that one.`) : error;
    }
    close(); say(`${named()} is ${server ? "changed" : "added"} on every worker`); await reload();
  });
  return { row, elements: [
    field("Name", name, "Letters, digits and dashes: what its tools' names begin with."),
    field("As the configuration file has it, below mcpServers", row, "A program: command, args, env. Another server: url. ${VARIABLE} stands for a variable of the workers' environment: keep secrets there."),
    wrong,
    h("div", { class: "buttons" }, button(server ? "Save" : "Add", save, { kind: "main" }), button("Check first", check), closing(close, "Cancel")),
  ] };
}
