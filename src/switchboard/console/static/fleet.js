// Fleet: workers as columns, what each holds as rows, live.
import { ago, api, base, button, confirmed, h, renew, say, state, svg } from "./console.js";

const STATES = { serving: "good", draining: "late", silent: "bad" };
export const SERVER_STATES = { running: "good", healthy: "good", disabled: "plain", preparing: "late", failed: "bad" };
const seen = new Map(); // every worker that was shown, so that one that is gone is seen to be gone

const number = (value, digits = 0) => value === null || value === undefined ? "—" : value.toLocaleString(undefined, { maximumFractionDigits: digits });

function chart(history, title) {
  const most = Math.max(1, ...history.map((each) => each.per_second));
  const step = 100 / Math.max(1, history.length - 1);
  const at = (each, index) => `${(index * step).toFixed(2)},${(28 - (each.per_second / most) * 26).toFixed(2)}`;
  const line = history.map(at).join(" ");
  const errors = history.flatMap((each, index) => each.errors ? [svg("rect", { class: "errors", x: Math.min(99, index * step), y: 24, width: 1, height: 6 })] : []);
  return svg("svg", { class: "chart", viewBox: "0 0 100 30", preserveAspectRatio: "none", role: "img", "aria-label": title },
    svg("polygon", { class: "area", points: `0,30 ${line} 100,30` }), svg("polyline", { class: "line", points: line }), ...errors);
}

function card(worker) {
  const rates = worker.rates ?? {};
  const drain = button("Drain", () => confirmed(`Drain ${worker.id}?`,
    "It takes no new requests, its streams move to other workers, what runs is finished, and then it ends.", "Drain",
    async () => { await api(`/workers/${worker.id}/drain`, { method: "POST" }); say(`${worker.id} is leaving; its streams move to other workers`); }),
  { label: `Drain ${worker.id}` });
  if (worker.state !== "serving") drain.disabled = true;
  const history = rates.history ?? [];
  return h("section", { class: "panel", "aria-label": `Worker ${worker.id}` },
    h("div", { class: "spread" }, h("h3", { class: "mono" }, worker.id), state(worker.state, STATES[worker.state] ?? "bad")),
    history.length ? chart(history, `Requests a second within the last minutes, ${number(rates.per_second, 1)} now`) : h("p", { class: "small soft" }, "No rates yet."),
    h("dl", { class: "facts" }, [
      ["requests/s", number(rates.per_second, 1)], ["errors", number(rates.errors)], ["p50 / p95 ms", `${number(rates.p50_ms, 1)} / ${number(rates.p95_ms, 1)}`],
      ["streams", number(worker.streams)], ["running", number(worker.requests)], ["up", ago(worker.uptime_s)],
    ].map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    worker.problem && h("p", { class: "small bad" }, worker.problem),
    h("div", { class: "spread small soft" }, worker.version || "", drain));
}

function servers(workers) {
  const names = [...new Set(workers.flatMap((each) => Object.keys(each.servers ?? {})))].sort();
  if (!names.length) return h("p", { class: "panel soft" }, "No servers are configured. ", h("a", { href: `${base}/servers` }, "Add one"), ".");
  return h("div", { class: "scroll", role: "region", "aria-label": "Servers by worker", tabindex: 0 }, h("table", {},
    h("caption", {}, "How each worker is doing with each server"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Server"), workers.map((each) => h("th", { scope: "col", class: "mono" }, each.id)))),
    h("tbody", {}, names.map((name) => h("tr", {}, h("th", { scope: "row" }, name), workers.map((each) => {
      const word = each.servers?.[name];
      return h("td", {}, word ? state(word, SERVER_STATES[word] ?? "late") : "—");
    }))))));
}

export default async function open(view) {
  const cards = h("div", { class: "cards" });
  const grid = h("div", {});
  const sums = h("p", { class: "soft", id: "sums" });
  view.append(sums, cards, h("h2", {}, "Servers"), grid);
  let sessions = null;
  const count = async () => { try { sessions = (await api("/sessions?limit=1")).total; } catch { sessions = null; } };

  function show(fleet) {
    const now = new Map(fleet.items.map((each) => [each.id, each]));
    for (const [worker, each] of now) seen.set(worker, { each, at: Date.now() });
    const gone = [...seen].filter(([worker, { at }]) => !now.has(worker) && Date.now() - at < 60000)
      .map(([, { each }]) => ({ ...each, state: "gone", streams: 0, requests: 0, rates: {}, servers: {} }));
    const workers = [...fleet.items, ...gone];
    renew(cards, ...workers.map(card));
    renew(grid, servers(fleet.items));
    const total = (name) => fleet.items.reduce((sum, each) => sum + (each[name] ?? 0), 0);
    const rate = fleet.items.reduce((sum, each) => sum + (each.rates?.per_second ?? 0), 0);
    sums.textContent = `${fleet.items.length} workers · ${number(sessions)} sessions · ${number(total("streams"))} streams · ${number(rate, 1)} requests a second`;
  }

  await count();
  show(await api("/workers"));
  setInterval(count, 10000);
  const events = new EventSource(`${base}/events`);
  events.addEventListener("fleet", (event) => show(JSON.parse(event.data)));
  addEventListener("pagehide", () => events.close());
}
