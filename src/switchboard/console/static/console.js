// What all pages share: asking the REST API, making elements, tables, dialogs, and saying how something went.

const root = document.documentElement.dataset;
export const base = root.base;
export const mayChange = root.mayChange === "yes";

export class Problem extends Error {
  constructor(status, said, etag) {
    const mistakes = (said.mistakes ?? []).map((each) => `${each.where}: ${each.reason}`);
    super([said.detail ?? said.title ?? `The server answered ${status}`, ...mistakes].join("\n"));
    this.status = status;
    this.current = said.current;
    this.etag = etag;
  }
}

export async function request(path, options = {}) {
  const headers = { "X-CSRF-Token": root.csrf, ...options.headers };
  let response;
  try {
    response = await fetch(base + path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The server cannot be reached. Try again." }, null);
  }
  if (response.status === 401) location.reload();
  return response;
}

// What the API answers; `etag` is the state that is being changed. Throws Problem.
export async function api(path, { method = "GET", body, etag } = {}) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (etag) headers["If-Match"] = etag;
  if (method === "POST") headers["Idempotency-Key"] = crypto.randomUUID?.() ?? String(Math.random());
  const response = await request(`/api${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await response.text();
  let said = {};
  try { said = text ? JSON.parse(text) : {}; } catch { said = { detail: text.slice(0, 300) }; }
  if (!response.ok) throw new Problem(response.status, said, response.headers.get("ETag"));
  if (said && typeof said === "object") Object.defineProperty(said, "etag", { value: response.headers.get("ETag") });
  return said;
}

export const id = (name) => encodeURIComponent(name);

// Of what may be there or not what is.
const there = (children) => children.flat(9).filter((each) => each !== null && each !== undefined && each !== false);

// An element; a function among the attributes listens, text among the children stays text.
export function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...there(children));
  return made;
}

export function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function say(text, kind = "good") {
  const line = h("p", { class: kind === "bad" ? "bad" : "" }, text);
  document.getElementById("said").append(line);
  setTimeout(() => line.remove(), kind === "bad" ? 12000 : 5000);
}

// A button that does something and says how it went; pressed again meanwhile, it does nothing. It is not disabled for that
// time, so that it keeps the focus. `spot`: what it is for `renew`, if its name changes.
export function button(text, act, { kind = "", label, spot, changes = true } = {}) {
  return h("button", {
    type: "button", class: kind, "aria-label": label, "data-spot": spot, disabled: changes && !mayChange,
    title: changes && !mayChange ? "This needs the permission admin" : null,
    click: async (event) => {
      const pressed = event.currentTarget;
      if (pressed.getAttribute("aria-busy")) return;
      pressed.setAttribute("aria-busy", "true");
      try { await act(); } catch (error) { failed(error); } finally { pressed.removeAttribute("aria-busy"); }
    },
  }, text);
}

const spotOf = (element) => element.dataset.spot ?? element.getAttribute("aria-label") ?? element.textContent;
const reachable = (place) => [...place.querySelectorAll("button:enabled, a[href], input:enabled, select:enabled, textarea:enabled, summary, [tabindex='0']")];

// Replaces what is in `place`; what had the focus there has it again, or else what is there first.
export function renew(place, ...children) {
  const focused = place.contains(document.activeElement) && place !== document.activeElement ? spotOf(document.activeElement) : null;
  place.replaceChildren(...there(children));
  if (focused === null) return;
  const found = reachable(place);
  (found.find((each) => spotOf(each) === focused) ?? found[0])?.focus({ preventScroll: true });
}

export function failed(error) {
  if (!(error instanceof Problem)) console.error(error);
  say(error.message, "bad");
}

export const state = (word, kind) => h("span", { class: `state ${kind}` }, word);

// columns: [title, row → content, class?]; the first is the row's header.
export function table(columns, rows, { caption, empty }) {
  if (!rows.length) return h("p", { class: "panel soft" }, empty);
  const cell = (row) => ([title, content, kind], index) =>
    index === 0 ? h("th", { scope: "row" }, content(row)) : h("td", { class: kind, "data-of": kind === "do" ? null : title }, content(row));
  return h("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: 0 },
    h("table", { class: "stacked" }, h("caption", {}, caption),
      h("thead", {}, h("tr", {}, columns.map(([title, , kind]) => h("th", { scope: "col", class: kind === "number" ? "number" : null }, title || h("span", { class: "unseen" }, "Actions"))))),
      h("tbody", {}, rows.map((row) => h("tr", {}, columns.map(cell(row)))))));
}

// A dialog; `fill(close)` gives what is in it. Resolves when it is closed; the focus is then where it was, also if the
// page was renewed meanwhile.
export function dialog(title, fill) {
  const opener = document.activeElement;
  return new Promise((resolve) => {
    const heading = h("h2", { id: fresh() }, title);
    const shown = h("dialog", { "aria-labelledby": heading.id });
    const close = () => shown.close();
    shown.append(heading, ...[fill(close)].flat(9));
    shown.addEventListener("close", () => {
      shown.remove();
      const found = opener.isConnected ? opener : reachable(document.getElementById("page")).find((each) => spotOf(each) === spotOf(opener));
      (found ?? document.getElementById("view")).focus({ preventScroll: true });
      resolve();
    });
    document.body.append(shown);
    shown.showModal();
  });
}

export const closing = (close, text = "Close") => h("button", { type: "button", click: close }, text);

// Asks before something is done that cannot be taken back.
export function confirmed(title, text, does, act) {
  return dialog(title, (close) => [
    h("p", {}, text),
    h("div", { class: "buttons" }, button(does, async () => { await act(); close(); }, { kind: "danger" }), closing(close, "Cancel")),
  ]);
}

// Asks before `name` is taken away, and shows what goes; if it was changed meanwhile, it is shown what it is now first.
// `act(etag)` takes it away.
export function removing(name, text, row, act, etag) {
  const { wrong, attempt } = changing(etag, (error) => nowIs(error, "Remove it nevertheless?"));
  return dialog(`Remove ${name}?`, (close) => [
    h("p", {}, text), h("details", {}, h("summary", {}, "What it is now"), h("pre", { tabindex: 0 }, JSON.stringify(row ?? {}, null, 2))), wrong,
    h("div", { class: "buttons" }, button("Remove", attempt(async (seen) => { await act(seen); close(); }), { kind: "danger" }), closing(close, "Cancel")),
  ]);
}

let made = 0;

// An id that nothing else has.
const fresh = () => `n${++made}`;

export function field(label, input, about = "") {
  const note = about ? h("span", { class: "small soft", id: fresh() }, about) : null;
  if (note) input.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", {}, h("span", {}, label), input), note);
}

// A text with a button that copies it.
export function copyable(text, label) {
  return h("span", { class: "copyable" }, h("code", {}, text),
    button("Copy", async () => { await navigator.clipboard.writeText(text); say("Copied"); }, { changes: false, label: `Copy ${label}` }));
}

// What was typed as JSON; `what` begins the message if it is none.
export function parsed(text, what = "That is") {
  try { return JSON.parse(text); } catch (error) { throw new Error(`${what} no JSON: ${error.message}`); }
}

// Changes of something whose state was seen: `attempt(act)` gives what a button does, `act` gets the state's etag. What is
// refused is said in `wrong`; after a conflict, said as `conflict(error)` does, the next attempt goes by what is there now.
export function changing(etag, conflict) {
  const wrong = h("p", { class: "note bad", role: "alert", hidden: true });
  const attempt = (act) => async () => {
    wrong.hidden = true;
    try { await act(etag); } catch (error) {
      if (error.status === 412) etag = error.etag;
      wrong.textContent = error.status === 412 ? conflict(error) : error.message;
      wrong.hidden = false;
    }
  };
  return { wrong, attempt };
}

export const nowIs = (error, again) => `${error.message}.${error.current === null || error.current === undefined ? "" : ` It is now:\n${JSON.stringify(error.current, null, 2)}`}\n${again}`;

export function late(act, ms = 250) {
  let timer;
  return () => { clearTimeout(timer); timer = setTimeout(() => Promise.resolve(act()).catch(failed), ms); };
}

export const ago = (seconds) => seconds === null || seconds === undefined ? "—"
  : seconds < 120 ? `${seconds} s` : seconds < 7200 ? `${Math.floor(seconds / 60)} min` : seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} days`;

export const many = (count, word) => `${count.toLocaleString()} ${word}${count === 1 ? "" : "s"}`;

export const when = (unix) => h("time", { datetime: new Date(unix * 1000).toISOString() }, new Date(unix * 1000).toLocaleString());

// A list that is loaded page by page: `load(cursor)` gives {items, next_cursor, total}, `show(items, found)` elements. What is
// the same as before is left as it is; an answer to an older question than the last is not shown.
export function paged(load, show) {
  const place = h("div", {});
  let items = [];
  let pages = 0;
  let asked = 0;
  let last = "";
  const more = async (cursor) => {
    const mine = ++asked;
    const found = await load(cursor);
    if (mine !== asked) return;
    const same = JSON.stringify(found);
    if (!cursor && pages === 1 && same === last) return;
    items = cursor ? [...items, ...found.items] : found.items;
    pages = cursor ? pages + 1 : 1;
    last = same;
    renew(place, show(items, { total: items.length, ...found }), found.next_cursor ? h("p", {}, button("Show more", () => more(found.next_cursor), { changes: false })) : "");
  };
  return { place, reload: () => more(""), atFirst: () => pages <= 1 };
}

async function start() {
  document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  const page = document.getElementById("page");
  try {
    const { default: open } = await import(`./${root.page}.js`);
    const made = h("div", {});
    await open(made);
    page.replaceChildren(made);
  } catch (error) {
    if (!(error instanceof Problem)) console.error(error);
    page.replaceChildren(h("p", { class: "note bad", role: "alert" }, error.message), button("Try again", start, { changes: false }));
  } finally {
    page.setAttribute("aria-busy", "false");
  }
}

start();
