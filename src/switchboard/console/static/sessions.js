// Sessions of handshake clients, and an end to one.
import { ago, api, button, confirmed, h, id, many, paged, say, state, table, when } from "./console.js";

export default async function open(view) {
  const list = paged((cursor) => api(`/sessions?limit=100&cursor=${id(cursor)}`), (items, found) => table([
    ["Session", (each) => h("span", { class: "mono" }, each.id.slice(0, 12))],
    ["Person", (each) => each.subject || "anonymous"],
    ["Client", (each) => [each.client || "—", h("div", { class: "small soft" }, each.client_id)]],
    ["Protocol", (each) => each.protocol_version],
    ["Stream", (each) => each.stream_open ? state("open", "good") : state("none", "plain")],
    ["Begun", (each) => each.created ? when(each.created) : "—"],
    ["Ends in", (each) => ago(each.ends_in_s), "number"],
    ["", (each) => button("End", () => confirmed("End this session?", `${each.client || "The client"} of ${each.subject || "somebody"} has to begin another.`, "End it", async () => {
      await api(`/sessions/${id(each.id)}`, { method: "DELETE" });
      say("The session is ended, on every worker"); await list.reload();
    }), { kind: "danger", label: `End session ${each.id.slice(0, 12)}` }), "do"],
  ], items, { caption: `${items.length} of ${many(found.total, "session")}`, empty: "No client has a session now. Clients of 2026-07-28 need none." }));
  view.append(h("div", { class: "tools" }, button("Look again", list.reload, { changes: false })), list.place);
  await list.reload();
}
