// Fleet: workers as columns, what each holds as rows, live.
import { ago, api, base, button, confirmed, h, renew, say, state, svg } from "./console.js";
import { held, number, total } from "./held.js";

const STATES = { serving: "good", draining: "late", left: "plain", silent: "bad", dead: "bad" };
const TOLD_MS = 60000; // how long a worker that is gone is shown as that
const LATE_MS = 7000; // without an event for so long, what is shown is old

// A line of what `read` gives of each point of the history; points with errors are marked below it.
function chart(history, read, title) {
  const most = Math.max(1, ...history.map((each) => read(each) ?? 0));
  const step = 100 / Math.max(1, history.length - 1);
  const line = history.map((each, index) => `${(index * step).toFixed(2)},${(28 - ((read(each) ?? 0) / most) * 26).toFixed(2)}`).join(" ");
  const errors = history.flatMap((each, index) => each.errors ? [svg("rect", { class: "errors", x: Math.min(99, index * step), y: 24, width: 1, height: 6 })] : []);
  return svg("svg", { class: "chart", viewBox: "0 0 100 30", preserveAspectRatio: "none", role: "img", "aria-label": title },
    svg("polygon", { class: "area", points: `0,30 ${line} 100,30` }), svg("polyline", { class: "line", points: line }), ...errors);
}

function charts(worker) {
  const rates = worker.rates ?? {};
  const history = rates.history ?? [];
  if (history.length < 2) return worker.state === "serving" ? h("p", { class: "small soft" }, "The first rates come within seconds.") : "";
  const one = (title, now, picture) => h("figure", {}, h("figcaption", {}, h("span", {}, title), h("strong", {}, now)), picture);
  return h("div", { class: "charts" },
    one("requests/s", number(rates.per_second, 1), chart(history, (each) => each.per_second, `Requests a second of ${worker.id} within the last minutes, ${number(rates.per_second, 1)} now`)),
    one("p95 ms", number(rates.p95_ms, 1), chart(history, (each) => each.p95_ms, `Latency of ${worker.id} that 95 of 100 requests stay below within the last minutes, ${number(rates.p95_ms, 1)} ms now`)));
}

function card(worker) {
  const rates = worker.rates ?? {};
  const drain = button("Drain", () => confirmed(`Drain ${worker.id}?`,
    "It takes no new requests, its streams move to other workers, what runs is finished, and then it ends.", "Drain",
    async () => { await api(`/workers/${worker.id}/drain`, { method: "POST" }); say(`${worker.id} is leaving; its streams move to other workers`); }),
  { label: `Drain ${worker.id}` });
  if (worker.state !== "serving") drain.disabled = true;
  const gone = worker.state === "left" || worker.state === "dead";
  const facts = [["streams", number(worker.streams)], ["running", number(worker.requests)], ["p50 ms", number(rates.p50_ms, 1)], ["errors/min", number(rates.errors), rates.errors]];
  return h("section", { class: `panel worker ${worker.state}`, "aria-label": `Worker ${worker.id}` },
    h("div", { class: "spread" }, h("h3", { class: "mono" }, worker.id), state(worker.state, STATES[worker.state] ?? "bad")),
    charts(worker),
    h("dl", { class: "facts" }, facts.map(([name, value, bad]) => h("div", {}, h("dt", {}, name), h("dd", { class: bad ? "bad" : null }, value)))),
    worker.problem && h("p", { class: "small bad" }, worker.problem),
    worker.state === "silent" && h("p", { class: "small bad" }, "It does not answer: it is busy, stopped, or was lost within the last seconds."),
    worker.state === "left" && h("p", { class: "small soft" }, "It was drained and has ended. Its streams and sessions are with other workers."),
    worker.state === "dead" && h("p", { class: "small bad" }, `It gave its last sign of life ${ago(Math.round((Date.now() - worker.at) / 1000))} ago. Its sessions go on with other workers.`),
    h("div", { class: "spread small soft" }, worker.uptime_s === undefined ? "" : `${worker.version} · up ${ago(worker.uptime_s)}`, gone ? "" : drain));
}

export default async function open(view) {
  const cards = h("div", { class: "cards" });
  const rows = held();
  const sums = h("p", { class: "soft", id: "sums" });
  const old = h("p", { class: "note bad", role: "alert", hidden: true });
  view.append(old, sums, cards, rows.element);
  const seen = new Map(); // every worker that was shown, so that one that died is seen to be dead
  let sessions = null;
  let fleet = { items: [], left: [] };
  let told = Date.now();
  const count = async () => { try { sessions = (await api("/sessions?limit=1")).total; } catch { sessions = null; } };

  function show() {
    const now = new Set(fleet.items.map((each) => each.id));
    const left = new Set(fleet.left.map((each) => each.id));
    const gone = [...seen.values()].filter((each) => !now.has(each.id) && (left.has(each.id) || (each.state !== "left" && Date.now() - each.at < TOLD_MS)))
      .map((each) => ({ ...each, state: left.has(each.id) ? "left" : "dead", streams: 0, requests: 0, rates: {} }));
    renew(cards, ...[...fleet.items, ...gone].map(card));
    rows.take(fleet.items);
    const rate = fleet.items.reduce((sum, each) => sum + (each.rates?.per_second ?? 0), 0);
    const parts = [[fleet.items.length, "worker"], [sessions, "session"], [total(fleet.items, "streams"), "stream"]].map(([many, word]) => `${number(many)} ${word}${many === 1 ? "" : "s"}`);
    sums.textContent = `${parts.join(" · ")} · ${number(rate, 1)} requests a second`;
  }
  function take(found) {
    fleet = found;
    told = Date.now();
    for (const each of fleet.items) if (each.state !== "silent" || !seen.has(each.id)) seen.set(each.id, { ...each, at: told });
    for (const each of fleet.left) seen.set(each.id, { ...seen.get(each.id), id: each.id, state: "left" });
    old.hidden = true;
    show();
  }

  await count();
  take(await api("/workers"));
  let events;
  function watch() {
    events = new EventSource(`${base}/events`);
    events.addEventListener("fleet", (event) => take(JSON.parse(event.data)));
    events.addEventListener("error", () => { if (events.readyState === EventSource.CLOSED) setTimeout(watch, 2000); });
  }
  watch();
  setInterval(count, 10000);
  setInterval(() => {
    if (Date.now() - told < LATE_MS) return;
    old.textContent = `The worker behind this page does not answer, and no other yet. What is shown was so at ${new Date(told).toLocaleTimeString()}; it is asked again every few seconds.`;
    old.hidden = false;
  }, 1000);
  addEventListener("pagehide", () => events.close());
}
