// The audit log: filtered, checked, exported.
import { api, button, h, id, late, renew, say, state, table, when } from "./console.js";

const MOST = 10000; // entries of one export

export default async function open(view) {
  const event = h("input", { type: "search", placeholder: "server.restarted" });
  const who = h("input", { type: "search", placeholder: '["https://…","alice"]' });
  const place = h("div", {});
  let items = [];
  const query = (before, limit = 100) => `/audit?limit=${limit}&before=${id(before)}&event=${id(event.value.trim())}&who=${id(who.value.trim())}`;
  const outcome = (word) => state(word, word === "ok" ? "good" : "bad");

  async function load(before = "") {
    const found = await api(query(before));
    items = before ? [...items, ...found.items] : found.items;
    renew(place, table([
      ["When", (each) => when(each.at)],
      ["Event", (each) => h("code", {}, each.event)],
      ["Who", (each) => each.who || "—"],
      ["What", (each) => [each.what || "—", Object.entries(each.more).map(([name, value]) => h("div", { class: "small soft" }, `${name}: ${value}`))]],
      ["Outcome", (each) => outcome(each.outcome)],
    ], items, { caption: `${items.length} entries, the newest first`, empty: "Nothing like that is in the log." }),
    found.next_before ? h("p", {}, button("Show older", () => load(found.next_before), { changes: false })) : "");
  }

  async function check() {
    const found = await api("/audit/check");
    if (found.faults.length) say(`The log was changed:\n${found.faults.slice(0, 5).join("\n")}`, "bad");
    else say(`All ${found.entries} entries are as they were written`);
  }

  async function save() {
    const lines = [];
    let before = "";
    do {
      const found = await api(query(before, 500));
      lines.push(...found.items.map((each) => JSON.stringify(each)));
      before = found.next_before ?? "";
    } while (before && lines.length < MOST);
    const url = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "application/jsonl" }));
    h("a", { href: url, download: "audit.jsonl" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
    say(`${lines.length} entries${before ? ", the newest: older ones are to be had with the API" : ""}`);
  }

  const again = late(() => load());
  event.addEventListener("input", again);
  who.addEventListener("input", again);
  view.append(h("div", { class: "tools" }, h("label", {}, h("span", {}, "Event"), event), h("label", {}, h("span", {}, "Who"), who),
    button("Check the log", check, { changes: false }), button("Export", save, { changes: false })), place);
  await load();
}
