// A form for a JSON schema, and the value that was typed into it.
import { field, h } from "./console.js";

const typeOf = (schema) => {
  const one = [schema.type ?? schema.anyOf?.map((each) => each.type)].flat().filter((each) => each && each !== "null");
  return one.length === 1 ? one[0] : "";
};
const choicesOf = (schema) => schema.enum ?? schema.oneOf?.filter((each) => "const" in each).map((each) => each.const) ?? (("const" in schema) ? [schema.const] : null);

// An input for one schema: {element, read}; `read` gives undefined for what is left empty, and throws what is wrong.
function input(schema, required, name) {
  const choices = choicesOf(schema);
  const start = schema.default;
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
      try { return JSON.parse(json.value); } catch (error) { throw new Error(`${name} is no JSON: ${error.message}`); }
    },
  };
}

// Fields for the properties of an object schema: {elements, read}.
export function fields(schema) {
  const wanted = new Set(schema?.required ?? []);
  const made = Object.entries(schema?.properties ?? {}).map(([name, each]) => {
    const needed = wanted.has(name);
    const label = `${each.title ?? name}${needed ? "" : " (optional)"}`;
    if (typeOf(each) === "object" && each.properties) {
      const inner = fields(each);
      return { name, element: h("fieldset", {}, h("legend", {}, label), inner.elements), read: () => { const found = inner.read(); return needed || Object.keys(found).length ? found : undefined; } };
    }
    const { element, read } = input(each, needed, name);
    return { name, element: field(label, element, each.description ?? ""), read };
  });
  return {
    elements: made.length ? made.map((each) => each.element) : [h("p", { class: "soft" }, "It takes no arguments.")],
    read: () => Object.fromEntries(made.map((each) => [each.name, each.read()]).filter(([, value]) => value !== undefined)),
  };
}
