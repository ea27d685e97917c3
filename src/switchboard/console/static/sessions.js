// Sessions of handshake clients, and an end to one.
import { choosing, confirmedForAll, oneByOne } from "./bulk.js";
import { ago, api, button, confirmed, h, id, many, paged, say, state, table, when } from "./console.js";

export default async function open(view) {
  const short = (sid) => sid.slice(0, 12);
  let names = {};
  const end = async (sid) => {
    try { await api(`/sessions/${id(sid)}`, { method: "DELETE" }); } catch (error) { if (error.status !== 404) throw error; } // it ended meanwhile
  };
  const several = choosing("session", () => names, [["End", async (rows) => {
    const begun = await confirmedForAll(`End ${many(rows.size, "session")}?`, "Their clients have to begin others.", "End them", rows, oneByOne(end));
    if (begun) await list.reload();
    return begun;
  }, "danger"]]);
  const list = paged((cursor) => api(`/sessions?limit=100&cursor=${id(cursor)}`), (items, found) => (names = Object.fromEntries(items.map((each) => [each.id, `${short(each.id)} ${each.client || "a client"} of ${each.subject || "anonymous"}`])), table([
    ["Session", (each) => h("span", { class: "pick" }, several.box(each.id, `session ${short(each.id)}`), " ", h("span", { class: "mono" }, short(each.id)))],
    ["Person", (each) => each.subject || "anonymous"],
    ["Client", (each) => [each.client || "—", h("div", { class: "small soft" }, each.client_id)]],
    ["Protocol", (each) => h("span", { class: "pick" }, each.protocol_version)],
    ["Stream", (each) => each.stream_open ? state("open", "good") : state("none", "plain")],
    ["Begun", (each) => each.created ? when(each.created) : "—"],
    ["Ends in", (each) => ago(each.ends_in_s), "number"],
    ["", (each) => button("End", () => confirmed("End this session?", `${each.client || "The client"} of ${each.subject || "somebody"} has to begin another.`, "End it", async () => {
      await end(each.id);
      say("The session is ended, on every worker"); await list.reload();
    }), { kind: "danger", label: `End session ${short(each.id)}` }), "do"],
  ], items, { caption: `${items.length} of ${many(found.total, "session")}`, empty: "No client has a session now. Clients of 2026-07-28 need none." })));
  view.append(h("div", { class: "tools" }, button("Look again", list.reload, { changes: false })), several.bar, list.place);
  await list.reload();
}
