"use strict";
// Draws /openapi.json. Law: every text is set as text, never as markup, and nothing is asked of any other host.

const METHODS = ["get", "post", "put", "delete"];

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

function resolve(spec, schema) {
  let found = schema;
  for (let step = 0; found && found.$ref && step < 20; step += 1) {
    const target = found.$ref.slice(2).split("/").reduce((at, key) => (at ? at[key] : undefined), spec);
    found = { ...target, ...Object.fromEntries(Object.entries(found).filter(([key]) => key !== "$ref")) };
  }
  return found || {};
}

/** The members of a schema that may be given: without null, which stands for "absent". */
function members(spec, schema) {
  const whole = resolve(spec, schema);
  const given = (whole.anyOf || whole.oneOf || [whole]).filter((each) => each.type !== "null");
  return given.map((each) => resolve(spec, each));
}

function typeName(spec, schema) {
  const named = members(spec, schema).map((each) => {
    if (each.enum) return each.enum.filter((value) => value !== null).map((value) => JSON.stringify(value)).join(" | ");
    if (each.type === "array") return `${typeName(spec, each.items || {})}[]`;
    if (each.type === "object" && each.additionalProperties) return `map of ${typeName(spec, each.additionalProperties)}`;
    return each.format ? `${each.type} (${each.format})` : each.type || "any";
  });
  return [...new Set(named)].join(" or ");
}

function limits(schema) {
  const said = [];
  if (schema.minimum !== undefined) said.push(`at least ${schema.minimum}`);
  if (schema.exclusiveMinimum !== undefined) said.push(`more than ${schema.exclusiveMinimum}`);
  if (schema.maximum !== undefined) said.push(`at most ${schema.maximum}`);
  if (schema.maxLength !== undefined) said.push(`at most ${schema.maxLength} characters`);
  if (schema.maxItems !== undefined) said.push(`at most ${schema.maxItems} items`);
  if (schema.writeOnly) said.push("secret: masked when read");
  return said.join(", ");
}

function drawSchema(spec, schema, depth = 0) {
  const list = make("ul", { class: "schema" });
  for (const member of members(spec, schema)) {
    const owner = member.type === "array" ? members(spec, member.items || {})[0] || {} : member;
    for (const [key, property] of Object.entries(owner.properties || {})) {
      list.append(drawProperty(spec, key, property, (owner.required || []).includes(key), depth));
    }
  }
  return list;
}

function drawProperty(spec, key, property, required, depth) {
  const whole = resolve(spec, property);
  const parts = members(spec, property);
  const notes = [whole.description, ...parts.map((part) => part.description), ...parts.map(limits)];
  const said = [...new Set(notes.filter(Boolean))].join(" · ");
  const head = [make("span", { class: required ? "key must" : "key" }, key), " ",
    make("span", { class: "type" }, typeName(spec, property)), " ", make("span", { class: "note" }, said)];
  const nested = parts.some((part) => part.properties || (part.items && members(spec, part.items)[0]?.properties));
  if (!nested || depth > 5) return make("li", {}, ...head);
  const inner = make("details", {}, make("summary", {}, ...head));
  inner.addEventListener("toggle", () => {
    if (inner.open && inner.children.length === 1) inner.append(drawSchema(spec, property, depth + 1));
  });
  return make("li", {}, inner);
}

/** A body to begin with: the first example, or the required fields. */
function firstBody(spec, content) {
  const examples = Object.values(content.examples || {});
  if (examples.length) return examples[0].value;
  const schema = members(spec, content.schema)[0] || {};
  return Object.fromEntries((schema.required || []).map((key) => [key, ""]));
}

function drawParameters(spec, operation, inputs) {
  const parameters = operation.parameters || [];
  if (!parameters.length) return null;
  const section = make("section", {}, make("h3", {}, "Parameters"));
  parameters.forEach((parameter, i) => {
    const id = `${operation.operationId}-${i}`;
    const choices = (parameter.schema.enum || (parameter.schema.type === "boolean" ? [true, false] : [])).map(String);
    const field = choices.length
      ? make("select", { id }, ...["", ...choices].map((value) => make("option", { value }, value || "—")))
      : make("input", { id, autocomplete: "off", spellcheck: "false", placeholder: parameter.schema.default ?? "" });
    if (parameter.in === "path") remember(field, parameter.name);
    inputs.push({ parameter, field });
    const note = [parameter.description, limits(parameter.schema)].filter(Boolean).join(" · ");
    section.append(make("div", { class: "row" },
      make("label", { for: id, class: parameter.required ? "must" : "" }, parameter.name), field,
      note ? make("span", { class: "note" }, note) : null));
  });
  return section;
}

/** The same gateway is usually meant everywhere: what was typed once is offered again. */
function remember(field, name) {
  if (name !== "gateway_id") return;
  field.dataset.shared = name;
  field.addEventListener("change", () => {
    for (const other of document.querySelectorAll(`[data-shared="${name}"]`)) other.value = field.value;
  });
}

function drawBody(spec, operation) {
  const content = operation.requestBody?.content?.["application/json"];
  if (!content) return [null, null];
  const area = make("textarea", { spellcheck: "false", "aria-label": "Request body" });
  area.value = JSON.stringify(firstBody(spec, content), null, 2);
  const section = make("section", {}, make("h3", {}, "Body"));
  const names = Object.keys(content.examples || {});
  if (names.length > 1) {
    const choice = make("select", { "aria-label": "Example" }, ...names.map((name) => make("option", { value: name }, name)));
    choice.addEventListener("change", () => {
      area.value = JSON.stringify(content.examples[choice.value].value, null, 2);
    });
    section.append(make("div", { class: "bar" }, "Example", choice));
  }
  const fields = make("details", { class: "answer" }, make("summary", {}, "Fields"), drawSchema(spec, content.schema));
  section.append(area, fields);
  return [section, area];
}

function drawAnswers(spec, operation) {
  const section = make("section", {}, make("h3", {}, "Answers"));
  for (const [status, answer] of Object.entries(operation.responses)) {
    const content = Object.values(answer.content || {})[0] || {};
    const codes = Object.keys(content.examples || {}).join(", ");
    const summary = make("summary", {}, make("strong", {}, status), " ", answer.description, " ",
      make("span", { class: "type" }, codes));
    section.append(make("details", { class: "answer" }, summary, content.schema ? drawSchema(spec, content.schema) : null));
  }
  return section;
}

function address(path, inputs) {
  const query = new URLSearchParams();
  let target = path;
  for (const { parameter, field } of inputs) {
    const value = field.value.trim();
    if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(value || "-"));
    else if (value) query.append(parameter.name, value);
  }
  return query.size ? `${target}?${query}` : target;
}

async function send(method, path, inputs, area, output) {
  const headers = {};
  const token = document.getElementById("token").value.trim();
  if (token) headers.authorization = `Bearer ${token}`;
  if (area) headers["content-type"] = "application/json";
  const target = address(path, inputs);
  const started = performance.now();
  const answer = await fetch(target, { method: method.toUpperCase(), headers, body: area ? area.value : undefined });
  const text = await answer.text();
  const took = Math.round(performance.now() - started);
  const said = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  output.replaceChildren(
    make("h3", {}, `${answer.status} ${answer.statusText} · ${took} ms · ${method.toUpperCase()} ${target}`),
    make("pre", {}, pretty(text) || "(empty)"),
    make("details", { class: "answer" }, make("summary", {}, "Headers"), make("pre", {}, said)),
  );
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function drawInside(spec, method, path, operation) {
  const inputs = [];
  const parameters = drawParameters(spec, operation, inputs);
  const [body, area] = drawBody(spec, operation);
  const output = make("div", { "aria-live": "polite" });
  const button = make("button", { type: "button" }, "Send");
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await send(method, path, inputs, area, output);
    } catch (error) {
      output.replaceChildren(make("pre", {}, `The request did not arrive: ${error.message}`));
    } finally {
      button.disabled = false;
    }
  });
  const note = operation.security.length ? "needs a token" : "needs no token";
  const bar = make("div", { class: "bar" }, button, make("span", { class: "note" }, note));
  return make("div", { class: "inside" }, parameters, body, bar, output, drawAnswers(spec, operation));
}

function drawOperation(spec, method, path, operation) {
  const summary = make("summary", {}, make("span", { class: `method ${method}` }, method.toUpperCase()),
    make("span", { class: "path" }, path), make("span", { class: "title" }, operation.summary));
  const node = make("details", { class: "operation", id: operation.operationId }, summary);
  node.dataset.text = `${method} ${path} ${operation.summary} ${operation.tags.join(" ")}`.toLowerCase();
  node.addEventListener("toggle", () => {
    if (node.open && node.children.length === 1) node.append(drawInside(spec, method, path, operation));
  });
  return node;
}

function drawTag(spec, tag) {
  const section = make("section", { id: `tag-${tag.name}` }, make("h2", {}, tag.name), make("p", { class: "about" }, tag.description));
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of METHODS) {
      if (item[method]?.tags.includes(tag.name)) section.append(drawOperation(spec, method, path, item[method]));
    }
  }
  return section;
}

function filter(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const node of document.querySelectorAll("details.operation")) {
    node.classList.toggle("hidden", !words.every((word) => node.dataset.text.includes(word)));
  }
  for (const section of document.querySelectorAll("main > section[id]")) {
    section.classList.toggle("hidden", !section.querySelector("details.operation:not(.hidden)"));
  }
}

function keepToken() {
  const field = document.getElementById("token");
  field.value = sessionStorage.getItem("trustgate-token") || "";
  field.addEventListener("input", () => sessionStorage.setItem("trustgate-token", field.value.trim()));
}

function draw(spec) {
  const main = document.getElementById("operations");
  main.replaceChildren(make("p", { class: "about" }, `Version ${spec.info.version}. ${spec.info.description}`));
  const contents = document.getElementById("contents");
  for (const tag of spec.tags) {
    main.append(drawTag(spec, tag));
    contents.append(make("a", { href: `#tag-${tag.name}` }, tag.name));
  }
  contents.append(make("a", { href: "/openapi.json" }, "openapi.json"));
  document.getElementById("filter").addEventListener("input", (event) => filter(event.target.value));
}

async function start() {
  keepToken();
  try {
    draw(await (await fetch("/openapi.json")).json());
  } catch (error) {
    document.getElementById("status").textContent = `The description cannot be loaded: ${error.message}`;
  }
}

start();
