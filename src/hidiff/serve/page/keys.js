// Everything by keyboard; the help panel is made of the same table.

import * as actions from "./actions.js";
import { mark, redo, undo } from "./corrections.js";
import { holdSpace } from "./tools.js";
import { state, update } from "./state.js";
import * as view from "./view.js";
import { size } from "./slices.js";

const tool = (name) => () => update({ tool: name });
const cycle = { outline: "fill", fill: "outline", none: "outline" };

// key, what help calls it, what it does; "Ctrl+" also stands for Cmd
const TABLE = [
  ["p", "Click", tool("point")],
  ["b", "Brush", tool("brush")],
  ["e", "Eraser", tool("eraser")],
  ["l", "Lock a region", tool("lock")],
  ["h", "Move the image", tool("hand")],
  ["[", "Smaller radius", () => update({ radius: Math.max(0, state.radius - 1) })],
  ["]", "Larger radius", () => update({ radius: Math.min(40, state.radius + 1) })],
  ["Ctrl+z", "Undo", undo],
  ["z", null, undo],
  ["Ctrl+y", "Redo", redo],
  ["y", null, redo],
  ["Ctrl+Shift+z", null, redo],
  ["c", "Alternatives", actions.showCandidates],
  ["Ctrl+s", "Save masks", actions.saveMasks],
  ["o", "Open another image", actions.leave],
  ["n", "Next image of the folder", actions.nextCase],
  ["f", "Outline or fill", () => update({ draw: cycle[state.draw] })],
  ["u", "Uncertainty", () => update({ uncertainty: !state.uncertainty })],
  ["PageUp", "Next slice", () => step(1)],
  ["PageDown", "Previous slice", () => step(-1)],
  [".", null, () => step(1)],
  [",", null, () => step(-1)],
  ["Home", "First slice", () => step(-1e6)],
  ["End", "Last slice", () => step(1e6)],
  ["+", "Zoom in", () => view.zoom(1.25)],
  ["=", null, () => view.zoom(1.25)],
  ["-", "Zoom out", () => view.zoom(0.8)],
  ["0", "Whole image", view.fit],
  ["?", "Help", actions.showHelp],
];
const MORE = [
  ["Arrows", "Move the cross (Shift: 10 px)"],
  ["Enter", "Add at the cross"],
  ["Shift+Enter", "Take away at the cross"],
  ["1 – 9", "Class that marks mean"],
  ["Hold X", "Image without the mask"],
  ["Hold Space", "Move the image by dragging"],
  ["Shift+drag", "Take away with the brush"],
  ["Wheel", "Change the slice; zoom a picture"],
  ["Two fingers", "Zoom and move"],
  ["Ctrl+wheel", "Zoom"],
  ["Right drag", "Window and level"],
];
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const BY_KEY = new Map(TABLE.map(([key, , run]) => [key, run]));

function step(count) {
  const last = state.session.shape[0] - 1;
  update({ slice: Math.min(last, Math.max(0, state.slice + count)) });
}

function nameOf(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const control = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
  const shift = control && event.shiftKey ? "Shift+" : "";
  return control + shift + key;
}

function moveCross([down, across], far) {
  const [height, width] = size();
  const [row, column] = state.cross ?? [Math.floor(height / 2), Math.floor(width / 2)];
  const length = state.cross ? (far ? 10 : 1) : 0; // the first arrow shows it in the middle
  const cut = (value, end) => Math.min(end - 1, Math.max(0, value));
  update({ cross: [cut(row + down * length, height), cut(column + across * length, width)] });
  document.getElementById("place").textContent = `row ${state.cross[0]}, column ${state.cross[1]}`;
}

const isTyping = (target) => target.matches("input:not([type=range]):not([type=checkbox]), select, textarea");
const usesKey = (target, key) =>
  (target.matches("button, a, summary") && [" ", "Enter"].includes(key)) ||
  (target.matches("input[type=checkbox], input[type=radio]") && key === " ") ||
  (target.matches("input[type=range], input[type=radio]") && (key in ARROWS || ["Home", "End", "PageUp", "PageDown"].includes(key)));

function press(event) {
  if (document.querySelector("dialog[open]") || isTyping(event.target) || usesKey(event.target, event.key)) return;
  if (!state.session) {
    if (event.key === "?") actions.showHelp();
    return;
  }
  const run = BY_KEY.get(nameOf(event));
  if (event.key in ARROWS) moveCross(ARROWS[event.key], event.shiftKey);
  else if (event.key === "Enter" && state.cross) mark([state.cross], state.tool === "eraser" ? event.shiftKey : !event.shiftKey);
  else if (event.key === "Escape") update({ cross: null });
  else if (event.key === " ") holdSpace(true);
  else if (nameOf(event) === "x") update({ hidden: true });
  else if (/^[1-9]$/.test(event.key) && event.key <= state.session.labels.length) update({ label: event.key - 1 });
  else if (run) run();
  else return;
  event.preventDefault();
}

export function setUp() {
  document.addEventListener("keydown", press);
  document.addEventListener("keyup", (event) => {
    if (event.key === " ") holdSpace(false);
    if (event.key.toLowerCase() === "x") update({ hidden: false });
  });
  const rows = [...MORE, ...TABLE.filter(([, text]) => text)].map(([key, text]) => {
    const row = document.createElement("div");
    const name = document.createElement("kbd");
    name.textContent = key.replace(/(^|\+)[a-z]$/, (end) => end.toUpperCase());
    row.append(text, name);
    return row;
  });
  document.getElementById("shortcuts").replaceChildren(...rows);
}
