// A form for a JSON schema, and the value that was typed into it.
import { field, h, parsed } from "./console.js";

const DEEPEST = 4; // what lies deeper, as in a schema that refers to itself, is written as JSON

// The schema behind a reference within `all`, and behind "this or null".
function meant(schema, all) {
  let found = schema === true ? {} : schema;
  for (let hops = 0; hops < 8; hops++) {
    const some = found.anyOf?.filter((each) => each.type !== "null");
    const inner = typeof found.$ref === "string" && found.$ref.startsWith("#/")
      ? found.$ref.slice(2).split("/").reduce((at, key) => at?.[key.replaceAll("~1", "/").replaceAll("~0", "~")], all)
      : some?.length === 1 ? some[0] : found.allOf?.length === 1 ? found.allOf[0] : null;
    if (!inner) return found;
    const { $ref, anyOf, allOf, ...own } = found;
    found = { ...inner, ...own };
  }
  return found;
}

// Rows of one kind, with a button for one more: {element, read}.
function rows(schema, needed, label, all, depth) {
  const place = h("div", {});
  const made = [];
  const least = schema.minItems ?? 0;
  const more = h("button", { type: "button", click: () => { add(); made.at(-1).element.querySelector("input, select, textarea")?.focus(); } }, `Add to ${label}`);
  const count = () => { more.disabled = made.length >= (schema.maxItems ?? Infinity); };
  function add(start) {
    const items = { ...meant(schema.items, all), title: null, ...(start !== undefined && { default: start }) };
    const part = one(`${label} ${made.length + 1}`, items, true, all, depth + 1);
    const row = { ...part, element: h("div", { class: "row" }, part.element, h("button", {
      type: "button", class: "link", "aria-label": `Remove ${label} ${made.length + 1}`,
      click: () => { made.splice(made.indexOf(row), 1); row.element.remove(); count(); more.focus(); },
    }, "Remove")) };
    made.push(row); place.append(row.element); count();
  }
  for (const each of Array.isArray(schema.default) ? schema.default : Array(needed ? least : 0).fill(undefined)) add(each);
  count();
  return {
    element: h("fieldset", {}, h("legend", {}, needed ? label : `${label} (optional)`), schema.description ? h("p", { class: "small soft" }, schema.description) : "", place, more),
    read: () => {
      const found = made.map((each) => each.read());
      if (found.length < least && (needed || found.length)) throw new Error(`${label} needs at least ${least}`);
      return needed || found.length ? found : undefined;
    },
  };
}

const typeOf = (schema) => {
  const one = [schema.type ?? schema.anyOf?.map((each) => each.type)].flat().filter((each) => each && each !== "null");
  return one.length === 1 ? one[0] : "";
};
const choicesOf = (schema) => schema.enum ?? schema.oneOf?.filter((each) => "const" in each).map((each) => each.const) ?? (("const" in schema) ? [schema.const] : null);

// An input for one schema: {element, read}; `read` gives undefined for what is left empty, and throws what is wrong.
function input(schema, required, name) {
  const start = schema.default;
  const open = typeOf(schema) === "boolean" && !required && start === undefined; // a box could not be left empty
  const choices = choicesOf(schema) ?? (open ? [true, false] : null);
  if (choices?.length) {
    const select = h("select", { required }, required ? "" : h("option", { value: "" }, "—"), choices.map((each, index) => h("option", { value: index, selected: each === start }, schema.enumNames?.[index] ?? schema.oneOf?.[index]?.title ?? String(each))));
    return { element: select, read: () => select.value === "" ? undefined : choices[Number(select.value)] };
  }
  const type = typeOf(schema);
  if (type === "boolean") {
    const box = h("input", { type: "checkbox", checked: Boolean(start) });
    return { element: box, read: () => box.checked };
  }
  if (type === "integer" || type === "number") {
    const number = h("input", { type: "number", step: type === "integer" ? 1 : "any", min: schema.minimum, max: schema.maximum, required, value: start ?? null });
    return { element: number, read: () => number.value === "" ? undefined : Number(number.value) };
  }
  if (type === "string") {
    const kind = { email: "email", uri: "url", date: "date" }[schema.format] ?? "text";
    const text = h("input", { type: kind, minlength: schema.minLength, maxlength: schema.maxLength, pattern: schema.pattern ?? null, required, value: start ?? null, autocomplete: "off" });
    return { element: text, read: () => text.value === "" && !required ? undefined : text.value };
  }
  const json = h("textarea", { class: "code", rows: 3, spellcheck: "false" });
  if (start !== undefined) json.value = JSON.stringify(start, null, 2);
  return {
    element: json,
    read: () => {
      if (!json.value.trim()) { if (required) throw new Error(`${name} is needed, as JSON`); return undefined; }
      return parsed(json.value, `${name} is`);
    },
  };
}

// What one property, or one item, is written into: {element, read}.
function one(name, given, needed, all, depth) {
  const schema = meant(given, all);
  const title = schema.title ?? name;
  const label = needed ? title : `${title} (optional)`;
  if (depth < DEEPEST && typeOf(schema) === "object" && schema.properties) {
    const inner = fields(schema, all, depth + 1, needed);
    return { element: h("fieldset", {}, h("legend", {}, label), inner.elements), read: () => { const found = inner.read(); return needed || Object.keys(found).length ? found : undefined; } };
  }
  if (depth < DEEPEST && typeOf(schema) === "array" && schema.items && !Array.isArray(schema.items)) return rows(schema, needed, title, all, depth);
  const { element, read } = input(schema, needed, title);
  return { element: field(label, element, schema.description ?? ""), read };
}

// Fields for the properties of an object schema: {elements, read}. `asked` false: of an optional object nothing is required.
export function fields(schema, all = schema, depth = 0, asked = true) {
  const wanted = new Set(asked ? schema?.required ?? [] : []);
  const start = schema?.default ?? {};
  const made = Object.entries(schema?.properties ?? {}).map(([name, each]) => {
    const given = name in start ? { ...meant(each, all), default: start[name] } : each;
    return { name, ...one(name, given, wanted.has(name), all, depth) };
  });
  return {
    elements: made.length ? made.map((each) => each.element) : [h("p", { class: "soft" }, "It takes no arguments.")],
    read: () => Object.fromEntries(made.map((each) => [each.name, each.read()]).filter(([, value]) => value !== undefined)),
  };
}
