"use strict";
// Keeps user ids in localStorage. Values from there are only ever put into text and form fields, never into markup.
(() => {
  const LAST = "fakeupstreamauth.userId", ALL = "fakeupstreamauth.userIds", MOST = 8;
  const VALID = /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$/;
  const field = document.getElementById("user_id");
  const known = document.getElementById("known");
  const people = document.getElementById("people");
  const generate = document.getElementById("generate");

  const read = () => {
    try {
      const ids = JSON.parse(localStorage.getItem(ALL) || "[]");
      return Array.isArray(ids) ? ids.filter((id) => typeof id === "string" && VALID.test(id)).slice(0, MOST) : [];
    } catch { return []; }
  };
  const write = (ids, last) => {
    try {
      localStorage.setItem(ALL, JSON.stringify(ids.slice(0, MOST)));
      if (last) localStorage.setItem(LAST, last);
    } catch { /* storage is off: the page works without */ }
  };
  const select = (id) => {
    field.value = id;
    mark();
  };
  const mark = () => {
    for (const button of people.querySelectorAll(".person"))
      button.setAttribute("aria-pressed", String(button.value === field.value));
  };
  const button = (id) => {
    const item = document.createElement("span");
    item.className = "chip";
    const pick = document.createElement("button");
    pick.type = "button";
    pick.className = "person";
    pick.value = id;
    pick.textContent = id;
    pick.addEventListener("click", () => select(id));
    const forget = document.createElement("button");
    forget.type = "button";
    forget.className = "forget";
    forget.textContent = "\u00d7";
    forget.setAttribute("aria-label", "Forget " + id);
    forget.addEventListener("click", () => {
      write(read().filter((other) => other !== id));
      draw();
      field.focus();
    });
    item.append(pick, forget);
    return item;
  };
  const draw = () => {
    const ids = read();
    people.replaceChildren(...ids.map(button));
    known.hidden = ids.length === 0;
    mark();
  };

  generate.hidden = false;
  generate.addEventListener("click", () => {
    const random = crypto.getRandomValues(new Uint32Array(1))[0];
    select("user-" + random.toString(36).padStart(7, "0"));
    field.focus();
  });
  field.addEventListener("input", mark);
  field.form.addEventListener("submit", (event) => {
    const id = field.value.trim();
    const cancelled = event.submitter && event.submitter.value === "cancel";
    if (!cancelled && VALID.test(id)) write([id, ...read().filter((other) => other !== id)], id);
  });
  let last = null;
  try { last = localStorage.getItem(LAST); } catch { /* as above */ }
  if (last && VALID.test(last) && !document.getElementById("problem")) field.value = last;
  draw();
})();
