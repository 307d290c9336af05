// The panel at the right: classes with their sizes, marks, view, window; and the tools at the left.

import { lockLabel, unlock } from "./corrections.js";
import { colourOf, listen, state, update } from "./state.js";

const part = (id) => document.getElementById(id);
const PRESETS = { Soft: [-160, 240], Lung: [-1350, 150], Bone: [-450, 1050], Brain: [0, 80] };

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `/page/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

function sizeOf(label) {
  if (label.ml !== null) return `${label.ml.toFixed(label.ml < 10 ? 2 : 1)} ml`;
  return `${label.pixels.toLocaleString("en")} px`;
}

function drawClasses() {
  const { session } = state;
  if (!session?.labels) return;
  const rows = session.labels.map((label, number) => {
    const dot = element("i", { className: "dot" });
    dot.style.background = colourOf(number);
    const size = element("span", { className: "size", textContent: sizeOf(label) });
    const choose = element("button", { className: "class", title: `Marks mean ${label.name} (${number + 1})` }, dot, element("b", { textContent: label.name }), size);
    choose.role = "radio";
    choose.ariaChecked = number === state.label;
    choose.onclick = () => update({ label: number });
    const lock = element("button", { className: "icon", title: label.locked ? "Locked: corrections leave it as it is" : `Lock ${label.name}: no correction changes it` }, icon(label.locked ? "lock" : "unlocked"));
    lock.ariaLabel = `Lock ${label.name}`;
    lock.ariaPressed = label.locked;
    lock.onclick = () => !label.locked && lockLabel(label.name);
    return element("li", { className: number === state.label ? "chosen" : "" }, choose, lock);
  });
  part("classes").replaceChildren(...rows);
  part("unlock").hidden = !session.locks_pixels && !session.labels.some((label) => label.locked);
}

function drawNotices() {
  const { session } = state;
  const notes = (session?.warnings ?? []).map((line) => element("p", { className: "notice", textContent: line }));
  if (session?.notice) notes.push(element("p", { className: "note", textContent: session.notice }));
  part("notices").replaceChildren(...notes);
}

// A group of buttons of which one is on, and a key of the state.
function radios(selector, key) {
  const buttons = [...document.querySelectorAll(selector)];
  const name = selector.slice(1).split("-")[1].replace("]", "");
  for (const button of buttons) button.onclick = () => update({ [key]: button.dataset[name] });
  const show = () => {
    for (const button of buttons) button.ariaChecked = button.dataset[name] === state[key];
  };
  listen([key], show);
  show();
}

function slider(id, key, factor, text) {
  const input = part(id);
  const show = () => {
    input.value = Math.round(state[key] * factor);
    const output = part(`${id}-value`);
    if (output) output.textContent = text(state[key]);
  };
  input.oninput = () => update({ [key]: input.value / factor });
  listen([key], show);
  show();
}

function check(id, key) {
  const input = part(id);
  input.onchange = () => update({ [key]: input.checked });
  listen([key], () => {
    input.checked = state[key];
  });
}

function drawWindow() {
  const { low, high } = state;
  if (low === null) return;
  const digits = high - low > 20 ? 0 : 3;
  part("level").value = ((low + high) / 2).toFixed(digits);
  part("width").value = (high - low).toFixed(digits);
}

function typeWindow() {
  const [level, width] = [Number(part("level").value), Number(part("width").value)];
  if (width > 0 && Number.isFinite(level)) update({ low: level - width / 2, high: level + width / 2 });
}

function drawPresets() {
  const { session } = state;
  part("window").hidden = session?.channels === 3;
  const known = session?.is_ct ? PRESETS : {};
  const given = session?.window ? { Default: [session.window.low, session.window.high] } : {};
  const buttons = Object.entries({ ...given, ...known }).map(([name, [low, high]]) => {
    const button = element("button", { textContent: name, title: `${low.toFixed(0)} to ${high.toFixed(0)}` });
    button.onclick = () => update({ low, high });
    return button;
  });
  part("presets").replaceChildren(...buttons);
}

export function setUp() {
  radios("[data-tool]", "tool");
  radios("[data-draw]", "draw");
  slider("radius", "radius", 1, (value) => `${value} px`);
  slider("opacity", "opacity", 1, (value) => `${value} %`);
  slider("share", "share", 100, () => "");
  check("rough", "rough");
  check("uncertainty", "uncertainty");
  part("level").onchange = part("width").onchange = typeWindow;
  listen(["low", "high"], drawWindow);
  listen(["session", "label"], drawClasses);
  listen(["session"], () => {
    drawPresets();
    drawNotices();
    part("undo").disabled = !state.session?.can_undo;
    part("redo").disabled = !state.session?.can_redo;
  });
  part("unlock").onclick = () => unlock();
  listen(["share"], () => {
    part("share-note").hidden = state.share === 1;
  });
}
