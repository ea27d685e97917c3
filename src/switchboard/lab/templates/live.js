// The page of a run as it grows: asks for itself every two seconds, and shows what has changed. What a reader opened stays open.
(() => {
  const at = () => document.querySelector("[data-live]");
  const opened = () => new Set([...document.querySelectorAll("details[open]")].map((each) => each.id));
  let shown = at() ? at().innerHTML : "";
  const look = async () => {
    if (!at() || document.hidden) return;
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-live]");
    if (!next || next.innerHTML === shown) return;
    const open = opened();
    shown = next.innerHTML;
    at().innerHTML = shown;
    document.querySelectorAll("details").forEach((each) => { each.open = open.has(each.id); });
  };
  setInterval(() => look().catch(() => {}), 2000);
})();
