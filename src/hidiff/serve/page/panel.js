// The panel at the right: classes, marks, view, window; and the tools at the left.

import * as classes from "./classes.js";
import { unlock } from "./corrections.js";
import { element } from "./elements.js";
import { listen, state, update } from "./state.js";

const part = (id) => document.getElementById(id);
const PRESETS = { Soft: [-160, 240], Lung: [-1350, 150], Bone: [-450, 1050], Brain: [0, 80] };

let drawn = null; // id of the session whose notices and presets are shown

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
  classes.setUp();
  listen(["session"], () => {
    if (drawn !== state.session?.id) {
      drawn = state.session?.id;
      drawPresets();
      drawNotices();
    }
    part("undo").disabled = !state.session?.can_undo;
    part("redo").disabled = !state.session?.can_redo;
  });
  part("unlock").onclick = () => unlock();
  listen(["share"], () => {
    part("share-note").hidden = state.share === 1;
  });
}
