/* The panel, and what happens on a click. Names are set as text only, never as HTML. */
"use strict";

const token = location.hash.slice(1);
const $ = (id) => document.getElementById(id);
const VIEWS = [
  ["scene", "True colour", null],
  ["components", "Components", null],
  ["change", "Change", null],
  ["similarity", "Similarity", "Click on the map first, with Compare chosen."],
  ["classes", "Classes", "Label places of two classes first."],
  ["uncertainty", "Uncertainty", "Label places of two classes first."],
];

let state = null;
let shown = "components";
let tool = -1; // the class that a click labels; -1: a click compares
let map = null;
let suggesting = false;
let waiting = 0;

function request(path, options = {}) {
  return fetch(path, { ...options, headers: { ...options.headers, "X-Deo-Token": token } });
}

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

function busy(change) {
  waiting += change;
  $("busy").hidden = waiting === 0;
}

/** Ask for a change; the state that comes back is shown. Returns whether it was made. */
async function call(name, body = {}) {
  busy(1);
  try {
    const response = await request(`api/${name}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    await accept(response);
    return true;
  } catch (error) {
    say(error.message, true);
    return false;
  } finally {
    busy(-1);
  }
}

async function reason(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error;
  } catch {
    return text;
  }
}

async function accept(response) {
  if (!response.ok) throw new Error(await reason(response));
  state = await response.json();
  if (tool >= state.classes.length) tool = state.classes.length - 1;
  if (!(shown in state.views)) shown = "scene" in state.views ? "scene" : "components";
}

async function clicked(row, col) {
  const began = performance.now();
  const label = tool >= 0;
  const made = label ? await call("example", { row, col, class: tool }) : await call("similar", { row, col });
  if (!made) return;
  shown = label ? ("classes" in state.views ? (shown === "uncertainty" ? shown : "classes") : shown) : "similarity";
  say(advice());
  await draw();
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  (window.deoRepaints ??= []).push(performance.now() - began); // read by the browser test
}

async function changed(name, body) {
  if (await call(name, body)) say(advice());
  await draw();
}

function advice() {
  if (tool < 0) return "Click on a place to see what resembles it.";
  const filled = state.classes.filter((each) => each.count).length;
  if (state.classes.length < 2) return "Add a second class.";
  if (filled < 2) return "Click on places of each class; with two classes the map appears.";
  return "Correct the map where it is wrong. Uncertainty shows where an example teaches most.";
}

/* ---- drawing ---- */

function element(kind, properties = {}, children = []) {
  const made = Object.assign(document.createElement(kind), properties);
  made.append(...children);
  return made;
}

async function draw() {
  const focus = document.activeElement && document.activeElement.id;
  drawViews();
  drawLegend();
  drawTools();
  const labelled = state.examples.length > 0;
  $("undo").disabled = state.undo === 0;
  $("next").disabled = state.suggestions.length === 0;
  $("next").setAttribute("aria-pressed", String(suggesting));
  $("export-labels").disabled = !(labelled && state.map.placed);
  $("export-map").disabled = !("classes" in state.views && state.map.placed);
  $("command").textContent = state.command;
  $("opacity-row").hidden = !("scene" in state.views) || shown === "scene";
  map.mark(state, suggesting);
  if (focus && $(focus) && document.activeElement !== $(focus)) $(focus).focus();
  busy(1);
  try {
    await map.show(shown, state.version, "scene" in state.views);
  } finally {
    busy(-1);
  }
}

function drawViews() {
  const buttons = VIEWS.filter(([key, , lack]) => lack || key in state.views).map(
    ([key, title, lack]) => {
      const there = key in state.views;
      const button = element("button", {
        type: "button", id: `view-${key}`, textContent: there ? state.views[key].title : title,
        disabled: !there, title: there ? "" : lack,
      });
      button.setAttribute("role", "radio");
      button.setAttribute("aria-checked", String(key === shown));
      button.addEventListener("click", () => { shown = key; draw(); });
      return button;
    },
  );
  $("views").replaceChildren(...buttons);
}

function drawLegend() {
  const legend = state.views[shown].legend;
  const parts = [];
  if (legend.ramp) {
    const bar = element("div", { className: "ramp" });
    bar.style.background = `linear-gradient(to right, ${legend.ramp.join(", ")})`;
    const ends = [element("span", { textContent: legend.low }), element("span", { textContent: legend.high })];
    parts.push(bar, element("div", { className: "ends" }, ends));
  }
  if (legend.key) {
    const rows = legend.key.map(({ colour, text }) => {
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = colour;
      return element("li", {}, [swatch, element("span", { textContent: text })]);
    });
    parts.push(element("ul", { className: "key" }, rows));
  }
  if (legend.note) parts.push(element("p", { className: "quiet", textContent: legend.note }));
  $("legend").replaceChildren(...parts);
}

function drawTools() {
  const rows = [compareRow(), ...state.classes.map(classRow)];
  $("tools").replaceChildren(...rows);
}

function radio(id, number) {
  const input = element("input", { type: "radio", name: "tool", id, checked: tool === number });
  input.addEventListener("change", () => choose(number));
  return input;
}

function compareRow() {
  const text = element("span", { className: "grow", textContent: "Compare: shows what is similar" });
  return element("label", { className: "tool" }, [
    radio("tool-compare", -1), text, element("kbd", { textContent: "0" }),
  ]);
}

function classRow(style, number) {
  const colour = element("input", { type: "color", value: style.colour, id: `colour-${number}` });
  colour.setAttribute("aria-label", `Colour of ${style.name}`);
  colour.addEventListener("change", () => changed("restyle", { class: number, name: style.name, colour: colour.value }));
  const name = element("input", { type: "text", value: style.name, id: `name-${number}`, className: "grow", maxLength: 100 });
  name.setAttribute("aria-label", `Name of class ${number + 1}`);
  name.addEventListener("focus", () => { if (tool !== number) choose(number); });
  name.addEventListener("change", () => changed("restyle", { class: number, name: name.value, colour: style.colour }));
  const count = element("span", { className: "count", textContent: String(style.count) });
  count.title = "examples";
  const remove = element("button", { type: "button", className: "remove", textContent: "×", id: `remove-${number}` });
  remove.setAttribute("aria-label", `Remove class ${style.name}`);
  remove.addEventListener("click", () => changed("remove", { class: number }));
  const key = element("kbd", { textContent: number < 9 ? String(number + 1) : "" });
  const pick = radio(`tool-${number}`, number);
  pick.setAttribute("aria-label", `Label ${style.name}`);
  const row = element("div", { className: "tool" }, [pick, colour, name, count, key, remove]);
  row.addEventListener("click", (event) => { if (event.target === row || event.target === count) choose(number); });
  return row;
}

function choose(number) {
  tool = number;
  for (const input of document.querySelectorAll("input[name=tool]")) {
    input.checked = input.id === (number < 0 ? "tool-compare" : `tool-${number}`);
  }
  say(advice());
}

/* ---- what the user does ---- */

async function download(name) {
  busy(1);
  say("Working …");
  try {
    const response = await request(`api/${name}`, { method: "POST", body: "{}" });
    if (!response.ok) throw new Error(await reason(response));
    const address = URL.createObjectURL(await response.blob());
    const file = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition"))[1];
    element("a", { href: address, download: file }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    say(`Saved as ${file}.`);
  } catch (error) {
    say(error.message, true);
  } finally {
    busy(-1);
  }
}

function undo() {
  return changed("undo", {});
}

function next() {
  suggesting = !suggesting || $("next").disabled;
  if (suggesting && state.suggestions.length) {
    map.goTo(state.suggestions[0]);
    say("The dashed rings are the places that the classifier is least certain of.");
  }
  draw();
}

function nextView() {
  const keys = VIEWS.map(([key]) => key).filter((key) => key in state.views);
  shown = keys[(keys.indexOf(shown) + 1) % keys.length];
  draw();
}

function pressed(event) {
  const typing = event.target.matches("input[type=text]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const digit = /^[0-9]$/.test(event.key) ? Number(event.key) - 1 : null;
  if (digit !== null && digit < state.classes.length) choose(digit);
  else if (event.key === "u" && state.undo) undo();
  else if (event.key === "n" && state.suggestions.length) next();
  else if (event.key === "v") nextView();
}

function listen() {
  $("undo").addEventListener("click", undo);
  $("next").addEventListener("click", next);
  $("export-map").addEventListener("click", () => download("map"));
  $("export-labels").addEventListener("click", () => download("labels"));
  $("opacity").addEventListener("input", () => map.overlay.setOpacity($("opacity").value / 100));
  $("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(state.command);
      say("Copied.");
    } catch { // notebooks may not let a frame write to the clipboard
      say("The browser does not let this page copy; select the command instead.", true);
    }
  });
  $("new-class").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!(await call("class", { name: $("new-name").value }))) return;
    $("new-name").value = "";
    choose(state.classes.length - 1);
    await draw();
  });
  document.addEventListener("keydown", pressed);
}

async function start() {
  try {
    await accept(await request("api/state"));
  } catch (error) {
    say(error.message, true);
    return;
  }
  const about = state.map;
  document.title = `${about.source} · deo explore`;
  $("source").textContent = about.source;
  const maps = about.maps > 1 ? `${about.maps} maps · ` : "";
  $("about").textContent =
    `${about.model} · layer ${about.layer} · ${maps}${about.channels} features · ${about.height} × ${about.width} cells`;
  shown = "scene" in state.views ? "scene" : "components";
  map = new FeatureMap(about, request, clicked);
  map.overlay.setOpacity("scene" in state.views ? $("opacity").value / 100 : 1);
  listen();
  say(advice());
  await draw();
}

start();
