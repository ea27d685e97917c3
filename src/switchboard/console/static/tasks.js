// Tasks: calls that go on after their request, of every worker, and an end to one.
import { api, button, confirmed, h, id, many, paged, say, state, table } from "./console.js";

const STATES = { working: "late", input_required: "late", completed: "good", failed: "bad", cancelled: "plain" };
const words = (status) => status.replaceAll("_", " ");
const ended = (each) => !["working", "input_required"].includes(each.status);
const at = (iso) => h("time", { datetime: iso }, new Date(iso).toLocaleString());

export default async function open(view) {
  const status = h("select", {}, h("option", { value: "" }, "all"), Object.keys(STATES).map((each) => h("option", { value: each }, words(each))));
  const list = paged((cursor) => api(`/tasks?limit=100&cursor=${id(cursor)}${status.value && `&status=${status.value}`}`), (items, found) => table([
    ["Task", (each) => [each.tool || "—", h("div", { class: "small soft mono" }, each.id.slice(0, 12))]],
    ["Status", (each) => [state(words(each.status), STATES[each.status] ?? "plain"), each.message && h("div", { class: "small" }, each.message),
      each.questions ? h("div", { class: "small" }, `${each.questions} questions wait for an answer`) : ""]],
    ["Person", (each) => [each.subject || "anonymous", each.client_id && h("div", { class: "small soft" }, each.client_id)]],
    ["Worker", (each) => h("span", { class: "mono" }, each.worker)],
    ["Begun", (each) => at(each.created)],
    ["Changed", (each) => at(each.updated)],
    ["", (each) => ended(each) ? "" : button("Cancel", () => confirmed("Cancel this task?", `${each.tool || "It"} may have had effects already.`, "Cancel it", async () => {
      await api(`/tasks/${id(each.id)}/cancel`, { method: "POST" });
      say("The task is cancelled, on the worker that ran it"); await list.reload();
    }), { kind: "danger", label: `Cancel task ${each.id.slice(0, 12)}` }), "do"],
  ], items, { caption: status.value ? `${items.length} tasks that are ${words(status.value)}` : `${items.length} of ${many(found.total, "task")}, the newest first`, empty: status.value ? "No task is like that now." : "No client has a task now." }));
  status.addEventListener("change", () => list.reload());
  view.append(h("div", { class: "tools" }, h("label", {}, h("span", {}, "Status"), status), button("Look again", list.reload, { changes: false })), list.place);
  await list.reload();
}
