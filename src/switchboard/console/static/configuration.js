// The configuration in force, changes of it, what was before, and a way back.
import { api, button, confirmed, field, h, late, many, parsed, renew, say, table, when } from "./console.js";

export default async function open(view) {
  const place = h("div", {});
  const patch = h("textarea", { class: "code", rows: 8, spellcheck: "false", placeholder: '{"mcpServers": {"files": {"enabled": false}}}' });
  const said = h("p", { role: "status" });
  let etag = null;
  const tell = (text, bad = false) => { said.className = bad ? "note bad" : "note"; said.textContent = text; said.hidden = !text; };
  tell("");

  async function check() {
    if (!patch.value.trim()) { tell(""); return; }
    try {
      const found = await api("/configuration/check", { method: "POST", body: parsed(patch.value) });
      tell(found.valid ? "This could come into force." : found.reasons.join("\n"), !found.valid);
    } catch (error) { tell(error.message, true); }
  }

  async function change() {
    try {
      await api("/configuration", { method: "PATCH", body: parsed(patch.value), etag });
      patch.value = ""; tell(""); say("The change is in force on every worker"); await load();
    } catch (error) {
      tell(error.status === 412 ? `${error.message}: somebody changed the configuration meanwhile. What is in force now stands above; make the change again if it is still right.` : error.message, true);
      if (error.status === 412) await load();
    }
  }

  async function load() {
    const now = await api("/configuration");
    const history = (await api("/configuration/history")).items;
    etag = now.etag;
    renew(place,
      now.problem ? h("p", { class: "note bad", role: "alert" }, `What is written is not in force: ${now.problem}`) : "",
      h("h2", {}, "In force"),
      h("p", { class: "soft" }, now.revision ? `Revision ${now.revision}: the file, the environment, and what was changed for the whole fleet.` : "The file and the environment; nothing was changed for the whole fleet."),
      h("pre", { tabindex: 0, id: "document", "aria-label": "The configuration in force" }, JSON.stringify(now.document, null, 2)),
      h("h2", {}, "History"),
      table([
        ["Revision", (each) => String(each.revision)],
        ["When", (each) => when(each.at)],
        ["Who", (each) => each.who || "—"],
        ["Changed for the fleet", (each) => h("details", {}, h("summary", {}, "Show"), h("pre", { tabindex: 0 }, JSON.stringify({ states: each.overlay, removes: each.removed }, null, 2)))],
        ["", (each) => each.revision === now.revision ? "in force" : button("Restore", () => confirmed(`Bring revision ${each.revision} back?`, "It comes into force on every worker, as a new revision.", "Restore", async () => {
          await api(`/configuration/history/${each.revision}/restore`, { method: "POST" });
          say(`Revision ${each.revision} is in force again`); await load();
        }), { label: `Restore revision ${each.revision}` }), "do"],
      ], history, { caption: many(history.length, "revision"), empty: "No changes yet." }),
    );
  }

  patch.addEventListener("input", late(check, 400));
  await load();
  view.append(place, h("h2", {}, "Change"), h("div", { class: "panel" },
    field("A merge patch (RFC 7396) of the configuration", patch, "null takes something away. It is checked while you write."), said,
    h("div", { class: "buttons" }, button("Change", change, { kind: "main" }))));
}
