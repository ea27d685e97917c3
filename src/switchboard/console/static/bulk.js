// Doing the same to several rows of a list: choosing them, asking first, and telling what became of each.
import { button, closing, dialog, failed, h, many, mayChange, renew, say, state } from "./console.js";

// Rows that are chosen in a list, by id: `box(id, name)` is the box of a row, `bar` has the actions and is shown with the
// list. A row stays chosen while the list is searched or read on. `shown()` gives the {id: name} of the rows that are shown;
// `actions` are [title, act(rows), kind?], with `rows` id → name; if `act` gives true, nothing is chosen any more.
export function choosing(word, shown, actions) {
  const chosen = new Map();
  const count = h("span", { role: "status", class: "soft" });
  const all = button("Choose all shown", () => choose(true), { changes: false });
  const none = button("Choose none", () => choose(false), { changes: false });
  const does = actions.map(([title, act, kind]) => h("button", { type: "button", class: kind, disabled: true, click: () => act(new Map(chosen)).then((done) => { if (done) choose(false); }).catch(failed) }, title));
  const tell = () => {
    count.textContent = chosen.size ? `${many(chosen.size, word)} chosen` : "";
    for (const each of does) each.disabled = !chosen.size || !mayChange;
    none.hidden = !chosen.size;
  };
  const set = (id, name, on) => { if (on) chosen.set(id, name); else chosen.delete(id); };
  function choose(on) {
    if (!on && document.activeElement === none) all.focus();
    if (on) for (const [id, name] of Object.entries(shown())) chosen.set(id, name); else chosen.clear();
    for (const each of document.querySelectorAll("input[data-choose]")) each.checked = chosen.has(each.dataset.choose);
    tell();
  }
  tell();
  return {
    bar: h("div", { class: "bulk", role: "group", "aria-label": `Several ${word}s` }, all, none, does, count),
    box: (id, name) => h("input", { type: "checkbox", "aria-label": `Choose ${name}`, "data-choose": id, checked: chosen.has(id), disabled: !mayChange, change: (event) => { set(id, name, event.currentTarget.checked); tell(); } }),
  };
}

// Asks before something is done to `rows` (id → name), does it, and tells what became of each: `act(ids, told, stopped)` calls
// `told(id, error)`, with no error if it is done, and begins nothing more once `stopped()`. Gives whether it was begun, when that is closed.
export function confirmedForAll(title, text, does, rows, act) {
  const outcome = new Map([...rows.keys()].map((id) => [id, ["waiting", "plain"]]));
  let begun = false;
  let stop = false;
  const place = h("div", { class: "buttons" });
  const summary = h("p", { role: "status" });
  const kinds = (kind) => [...outcome].filter(([, [, each]]) => each === kind).map(([id]) => id);
  const line = (id) => { const [word, kind, why] = outcome.get(id); return h("li", {}, h("span", { class: "mono" }, rows.get(id)), " ", word === "waiting" && !begun ? "" : state(word, kind), why && h("div", { class: "small bad" }, why)); };
  return dialog(title, (close) => {
    const list = h("ul", { class: "outcomes", tabindex: 0, "aria-label": "Those chosen" });
    const lines = new Map([...rows.keys()].map((id) => [id, line(id)]));
    list.append(...lines.values());
    const show = (id) => { const made = line(id); lines.get(id).replaceWith(made); lines.set(id, made); };
    const told = (id, error) => {
      outcome.set(id, error ? ["failed", "bad", error.message] : ["done", "good"]);
      show(id);
      const bad = kinds("bad").length;
      summary.textContent = `${kinds("good").length} of ${rows.size} done${bad ? `, ${bad} failed` : ""}`;
    };
    async function go(ids) {
      begun = true; stop = false;
      for (const id of ids) { outcome.set(id, ["waiting", "plain"]); show(id); }
      place.lastElementChild.replaceWith(button("Stop", () => { stop = true; }, { changes: false }));
      try { await act(ids, told, () => stop); } catch (error) { for (const id of ids) if (outcome.get(id)[0] === "waiting") told(id, error); }
      const left = [...kinds("bad"), ...kinds("plain")];
      if (stop) summary.textContent = `${summary.textContent || "Nothing is done"}; stopped`;
      renew(place, closing(close), left.length ? button(`Try the other ${left.length} again`, () => go(left), { kind: "danger" }) : "");
      if (list.isConnected) place.querySelector("button").focus();
      else say(`${title} ${summary.textContent}`, left.length ? "bad" : "good");
    }
    place.append(button(does, () => go([...rows.keys()]), { kind: "danger" }), closing(close, "Cancel"));
    return [h("p", {}, text), list, summary, place];
  }).then(() => { stop = true; return begun; });
}

// One after the other, some at a time: `one(id)` does it for a row.
export const oneByOne = (one, atOnce = 4) => async (ids, told, stopped) => {
  const waiting = [...ids];
  const work = async () => {
    for (let id; !stopped() && (id = waiting.shift()) !== undefined;) {
      try { await one(id); told(id); } catch (error) { told(id, error); }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
};
