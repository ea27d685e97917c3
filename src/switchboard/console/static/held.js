// What each worker holds, with workers as columns: servers with their connections, sessions, or streams as rows.
import { ago, api, base, button, confirmed, failed, h, id, late, many, renew, say, state, svg } from "./console.js";

const SERVER_STATES = { running: "good", ready: "good", disabled: "plain", failed: "bad" };
export const kindOf = (word) => SERVER_STATES[word] ?? (/open|down|fail|dead|unhealthy/.test(word) ? "bad" : "late"); // of a server's state
const ROWS = 40; // servers that are shown at once
const PAGE = 50; // sessions or streams that are read at once
const MOST = 500; // streams of one request
const AGAIN_MS = 4000; // how often what is shown is asked for again

export const number = (value, digits = 0) => value === null || value === undefined ? "—" : value.toLocaleString(undefined, { maximumFractionDigits: digits });
export const total = (workers, name) => workers.reduce((sum, each) => sum + (each[name] ?? 0), 0);
const short = (sid) => sid.slice(0, 12);
const age = (unix) => ago(Math.max(0, Math.round(Date.now() / 1000 - unix)));

// rows: {head, cell(worker), act?}; `act` is what can be done to the row.
function grid(caption, workers, rows, first) {
  const acts = rows.some((each) => each.act);
  return h("div", { class: "scroll", role: "region", "aria-label": "What each worker holds", tabindex: 0 }, h("table", { class: "grid" },
    h("caption", {}, caption),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, first), workers.map((each) => h("th", { scope: "col", class: "mono" }, each.id)), acts && h("th", { scope: "col" }, h("span", { class: "unseen" }, "Actions")))),
    h("tbody", {}, rows.map((row) => h("tr", { class: row.kind }, h("th", { scope: "row" }, row.head), workers.map((each) => h("td", {}, row.cell(each))), acts && h("td", { class: "do" }, row.act))))));
}

const nobody = (silent) => silent.length ? h("p", { class: "small bad" }, `${silent.join(", ")} did not answer: what it holds is not shown.`) : "";
const person = (each) => each.subject || "anonymous";

// Of each worker how much of the fleet's streams and requests it holds.
const share = (worker, name, all) => h("span", { class: "share" }, h("span", { class: "mono" }, number(worker[name])),
  svg("svg", { class: "bar", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { width: all ? (100 * (worker[name] ?? 0)) / all : 0, height: 6, rx: 2 })));

function child(worker, name) {
  const word = worker.servers?.[name];
  const held = worker.connections?.[name];
  return word ? [state(word, kindOf(word)), held ? h("div", { class: "small soft" }, many(held, "connection")) : ""] : "—";
}

// What somebody has to look at comes first.
function troubled(workers, name) {
  const kinds = workers.map((each) => each.servers?.[name]).filter(Boolean).map(kindOf);
  return kinds.includes("bad") ? 0 : kinds.includes("late") ? 1 : kinds.includes("good") ? 2 : 3;
}

const WHOSE = { gateway: "the gateway itself", shared: "everybody", "": "nobody yet" };
const whose = (each) => each.session ? `session ${short(each.session)} of ${person(each)}` : WHOSE[each.kind] ?? person(each);

// One connection to a server: a child, or a session there.
const connection = (each) => ({
  kind: "inner",
  head: [each.process ? h("span", { class: "mono" }, `process ${each.process}`) : "session at the server", h("div", { class: "small soft" }, `of ${whose(each)}`)],
  cell: (worker) => worker.id === each.worker ? [state(!each.open ? "starting or ending" : each.calls ? many(each.calls, "call") : "idle", each.calls || !each.open ? "late" : "plain"), each.calls || !each.open ? "" : h("div", { class: "small soft" }, `for ${ago(each.idle_s)}`)] : "",
});

// Rows of servers; each shows its connections when it is opened. `show` shows all anew.
function servers(show) {
  const opened = new Map(); // of a server, what it was told of its connections last
  const ask = async (name) => { const found = await api(`/servers/${id(name)}/connections`); if (opened.has(name)) { opened.set(name, found); show(); } };
  const toggle = (name) => h("button", { type: "button", class: "link open", "aria-expanded": String(opened.has(name)), "aria-label": `Connections to ${name}`, click: () => {
    if (opened.delete(name)) show(); else { opened.set(name, null); show(); ask(name).catch(failed); }
  } }, name);
  return {
    load: async () => { await Promise.all([...opened.keys()].map(ask)); },
    table: (workers, wanted) => {
      const names = [...new Set(workers.flatMap((each) => Object.keys(each.servers ?? {})))].filter((name) => name.includes(wanted));
      const sorted = names.map((name) => [troubled(workers, name), name]).sort(([a, x], [b, y]) => a - b || x.localeCompare(y)).map(([, name]) => name);
      const rows = sorted.slice(0, ROWS).flatMap((name) => {
        const found = opened.get(name);
        const none = found && !found.items.length ? [{ kind: "inner", head: "No connection is open.", cell: () => "" }] : [];
        const quiet = found?.silent.length ? [{ kind: "inner", head: nobody(found.silent), cell: () => "" }] : [];
        return [{ head: toggle(name), cell: (worker) => child(worker, name) }, ...(found?.items ?? []).map(connection), ...none, ...quiet];
      });
      const sums = [["streams", "Streams"], ["requests", "Running requests"]].map(([name, title]) => ({ head: title, cell: (worker) => share(worker, name, total(workers, name)) }));
      const caption = sorted.length > ROWS ? `The first ${ROWS} of ${sorted.length} servers, those in trouble first: search for others` : "Streams, running requests, and each server with its connections, by worker";
      return [grid(caption, workers, [...sums, ...rows], "Held"),
        !sorted.length && h("p", { class: "soft none" }, wanted ? "No server is called like that." : ["No servers are configured. ", h("a", { href: `${base}/servers` }, "Add one"), "."])];
    },
  };
}

const KINDS = { get: "its session's stream", sse: "HTTP+SSE", websocket: "WebSocket", listen: "subscriptions/listen", reply: "a streamed answer" };
const open = (each) => [state("open", "good"), h("div", { class: "small soft" }, `for ${age(each.opened)}`)];

function endStream(each, again) {
  return button("End", () => confirmed("End this stream?", each.session || each.era === "modern" ? "Its client may open it again, unless its session is ended." : "Its client has to begin anew.", "End it", async () => {
    try { await api(`/streams/${id(each.id)}`, { method: "DELETE" }); } catch (error) { if (error.status !== 404) throw error; } // it ended meanwhile
    say(`The stream of ${person(each)} is ended on ${each.worker}`); await again();
  }), { kind: "danger", label: `End stream ${each.id}` });
}

// Rows that are read page by page: `read(cursor, limit, wanted)` gives a page, `row(item, found)` a row.
function pages(show, word, read, row, empty) {
  let found = { items: [], total: 0 };
  let asked = 0;
  let wanted = "";
  const load = async (text = wanted) => {
    const mine = ++asked;
    const limit = text === wanted ? Math.min(MOST, Math.max(PAGE, found.items.length)) : PAGE;
    const got = await read("", limit, text);
    if (mine === asked) { found = got; wanted = text; show(); }
  };
  const more = async () => {
    const mine = ++asked;
    const got = await read(found.next_cursor, PAGE, wanted);
    if (mine === asked) { found = { ...got, items: [...found.items, ...got.items] }; show(); }
  };
  return {
    load,
    table: (workers) => [
      found.items.length ? grid(`${number(found.items.length)} of ${many(found.total, word)}, by worker`, workers, found.items.map((each) => row(each, found, load)), word[0].toUpperCase() + word.slice(1)) : h("p", { class: "panel soft" }, wanted ? `No ${word} is of a person called ${wanted}.` : empty),
      nobody(found.silent ?? []),
      found.next_cursor ? h("p", {}, button("Show more", more, { changes: false })) : ""],
  };
}

const streams = (show) => pages(show, "stream",
  (cursor, limit, wanted) => api(`/streams?limit=${limit}&cursor=${id(cursor)}&subject=${id(wanted)}`),
  (each, _found, again) => ({
    head: [person(each), h("div", { class: "small soft" }, [KINDS[each.kind] ?? each.kind, each.session ? ` · session ${short(each.session)}` : "", each.client_id ? ` · ${each.client_id}` : ""].join(""))],
    cell: (worker) => worker.id === each.worker ? open(each) : "",
    act: endStream(each, again),
  }), "No client holds a stream open now.");

// Sessions are of no worker; what is of one is their streams. Of a large fleet the streams of each session are asked for.
async function readSessions(cursor, limit) {
  const [found, held] = await Promise.all([api(`/sessions?limit=${limit}&cursor=${id(cursor)}`), api(`/streams?limit=${MOST}`)]);
  const bySession = new Map(found.items.map((each) => [each.id, []]));
  if (held.next_cursor) {
    const open = found.items.filter((each) => each.stream_open).map((each) => each.id);
    await Promise.all(Array.from({ length: 4 }, async () => { for (let sid; (sid = open.shift());) bySession.set(sid, (await api(`/streams?session=${id(sid)}`)).items); }));
  } else for (const each of held.items) bySession.get(each.session)?.push(each);
  return { ...found, silent: held.silent, bySession };
}

const sessions = (show) => pages(show, "session", readSessions, (each, found, again) => ({
  head: [each.client || person(each), h("div", { class: "small soft" }, `${short(each.id)} of ${person(each)} · ends in ${ago(each.ends_in_s)}`)],
  cell: (worker) => {
    const here = (found.bySession.get(each.id) ?? []).filter((stream) => stream.worker === worker.id);
    return here.length ? state(many(here.length, "stream"), "good") : "";
  },
  act: button("End", () => confirmed("End this session?", `${each.client || "The client"} of ${person(each)} has to begin another.`, "End it", async () => {
    try { await api(`/sessions/${id(each.id)}`, { method: "DELETE" }); } catch (error) { if (error.status !== 404) throw error; } // it ended meanwhile
    say("The session is ended, on every worker"); await again();
  }), { kind: "danger", label: `End session ${short(each.id)}` }),
}), "No client has a session now. Clients of 2026-07-28 need none.");

const VIEWS = {
  servers: ["Servers", servers, "Search servers", "Name of a server"],
  sessions: ["Sessions", sessions],
  streams: ["Streams", streams, "Of a person", "The whole name"],
};

// The part of the page: `element`, and `take(workers)` shows it for the workers as they are now.
export function held() {
  const place = h("div", {});
  const search = h("input", { type: "search" });
  const label = h("span", {});
  let workers = [];
  let view = "servers";
  const made = Object.fromEntries(Object.entries(VIEWS).map(([name, [, make]]) => [name, make(() => { if (view === name) show(); })]));
  const show = () => renew(place, made[view].table(workers, search.value.trim()));
  const load = () => made[view].load(view === "servers" ? "" : search.value.trim());
  const choose = async (name) => {
    view = name;
    const [, , about, hint] = VIEWS[name];
    label.textContent = about ?? "";
    Object.assign(search, { value: "", placeholder: hint ?? "" });
    search.parentElement.hidden = !about;
    show();
    await load();
  };
  const radio = ([name, [title]]) => h("label", {}, h("input", { type: "radio", name: "held", value: name, checked: name === view, change: () => choose(name).catch(failed) }), title);
  const searched = late(load);
  search.addEventListener("input", () => { if (view === "servers") show(); else searched(); });
  const searching = h("label", {}, label, search);
  choose(view).catch(failed);
  setInterval(() => { if (!document.querySelector("dialog[open]")) load().catch(() => {}); }, AGAIN_MS);
  return {
    element: h("section", {}, h("h2", {}, "What each worker holds"),
      h("div", { class: "tools" }, h("fieldset", { class: "segments" }, h("legend", {}, "Rows"), Object.entries(VIEWS).map(radio)), searching), place),
    take: (found) => { workers = found; show(); },
  };
}
