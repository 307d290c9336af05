// The list of classes: colour, size, lock, and which of them marks mean.

import { lockLabel } from "./corrections.js";
import { element, icon } from "./elements.js";
import { colourOf, listen, state, update } from "./state.js";

const list = document.getElementById("classes");
let drawn = null; // id of the session whose classes are listed

function sizeOf(label) {
  if (label.ml === null) return `${label.pixels.toLocaleString("en")} px`;
  const digits = label.ml < 10 ? 2 : 1;
  return `${label.ml.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })} ml`;
}

function makeRow({ name }, number) {
  const dot = element("i", { className: "dot" });
  dot.style.background = colourOf(number);
  const choose = element("button", { className: "class", title: `Marks mean ${name} (${number + 1})` }, dot, element("b", { textContent: name }), element("span", { className: "size" }));
  choose.role = "radio";
  choose.onclick = () => update({ label: number });
  const lock = element("button", { className: "icon", ariaLabel: `Lock ${name}` });
  lock.onclick = () => !state.session.labels[number].locked && lockLabel(name);
  return element("li", {}, choose, lock);
}

// The rows stay while a volume is being segmented, so that no click on them is lost.
function show() {
  const { session } = state;
  if (!session) return;
  if (drawn !== session.id) {
    drawn = session.id;
    list.replaceChildren(...session.labels.map(makeRow));
  }
  session.labels.forEach((label, number) => showRow(list.children[number], label, number === state.label));
  document.getElementById("unlock").hidden = !session.locks_pixels && !session.labels.some((label) => label.locked);
}

function showRow(row, label, isChosen) {
  const [choose, lock] = row.children;
  const { segmented, shape } = state.session;
  const isPart = segmented < shape[0];
  row.className = isChosen ? "chosen" : "";
  choose.ariaChecked = isChosen;
  const size = choose.querySelector(".size");
  size.textContent = sizeOf(label) + (isPart ? " so far" : "");
  size.title = isPart ? `in ${segmented} of ${shape[0]} slices` : "";
  if (lock.ariaPressed === String(label.locked)) return;
  lock.ariaPressed = label.locked;
  lock.title = label.locked ? "Locked: corrections leave it as it is" : `Lock ${label.name}: no correction changes it`;
  lock.replaceChildren(icon(label.locked ? "lock" : "unlocked"));
}

export function setUp() {
  listen(["session", "label"], show);
}
