// Mouse, pen and fingers on the image.

import { lockStroke, mark } from "./corrections.js";
import { colourOf, listen, state, update } from "./state.js";
import * as view from "./view.js";

const viewer = document.getElementById("viewer");
const ghost = document.getElementById("ghost");
const place = document.getElementById("place");
const pointers = new Map();
let gesture = null; // { kind, points, add, ... } of what the pointer does now
let spaceHeld = false;
let rolled = 0; // by the wheel or a touch pad, since the last slice

const A_SLICE = 40; // pixels of the wheel: a notch of a mouse is 100, a touch pad sends a few at a time

export function holdSpace(held) {
  spaceHeld = held;
  showCursor();
}

const moves = () => state.tool === "hand" || spaceHeld;
const paints = () => ["brush", "eraser", "lock", "point"].includes(state.tool) && !spaceHeld;

function showCursor() {
  viewer.classList.toggle("moving", moves());
}

function at(event) {
  const box = viewer.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

viewer.addEventListener("contextmenu", (event) => event.preventDefault());

viewer.addEventListener("pointerdown", (event) => {
  if (!state.session || !event.target.closest("#viewer")) return;
  viewer.focus({ preventScroll: true });
  viewer.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, at(event));
  update({ cross: null });
  if (pointers.size === 2) {
    gesture = { kind: "pinch" };
    view.setStrokes([]);
    return;
  }
  const [x, y] = at(event);
  if (event.button === 1 || (event.button === 0 && moves())) gesture = { kind: "pan", x, y };
  else if (event.button === 2) gesture = { kind: "window", x, y, low: state.low, high: state.high };
  else if (event.button === 0) startStroke(event, view.toPixel(x, y));
});

function startStroke(event, point) {
  if (!view.isInside(point)) return;
  const away = event.shiftKey || event.altKey;
  const add = state.tool === "eraser" ? away : !away;
  gesture = { kind: "stroke", points: [point], add, lock: state.tool === "lock", single: state.tool === "point" };
  showStroke();
}

viewer.addEventListener("pointermove", (event) => {
  const [x, y] = at(event);
  if (pointers.size === 2 && pointers.has(event.pointerId)) pinch(event.pointerId, [x, y]);
  else if (gesture?.kind === "pan") {
    view.pan(x - gesture.x, y - gesture.y);
    Object.assign(gesture, { x, y });
  } else if (gesture?.kind === "window") changeWindow(x - gesture.x, y - gesture.y);
  else if (gesture?.kind === "stroke" && !gesture.single) {
    for (const each of event.getCoalescedEvents?.() ?? [event]) extend(view.toPixel(...at(each)));
    showStroke();
  }
  if (pointers.has(event.pointerId)) pointers.set(event.pointerId, [x, y]);
  hover(event, x, y);
});

function extend(point) {
  if (!view.isInside(point)) return;
  const last = gesture.points.at(-1);
  // finer steps than a third of the radius or of a screen pixel add nothing
  const step = Math.max(state.radius / 3, 1 / view.scale(), 0.5);
  if (Math.hypot(point[0] - last[0], point[1] - last[1]) >= step) gesture.points.push(point);
}

function showStroke() {
  const colour = gesture.lock ? "#ffffff" : colourOf(state.label);
  view.setStrokes([{ points: gesture.points, radius: state.radius, add: gesture.add && !gesture.lock, colour }]);
}

function pinch(id, now) {
  const [other] = [...pointers].filter(([each]) => each !== id).map(([, position]) => position);
  const before = pointers.get(id);
  const distance = ([x, y]) => Math.hypot(x - other[0], y - other[1]);
  const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
  view.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
  view.zoom(distance(now) / Math.max(1, distance(before)), ...middle);
}

function changeWindow(dx, dy) {
  const { low, high } = gesture;
  const width = Math.max((high - low) * Math.exp(dx / 200), 1e-3);
  const level = (low + high) / 2 - (dy / 250) * (high - low);
  update({ low: level - width / 2, high: level + width / 2 });
}

function finish(event) {
  pointers.delete(event.pointerId);
  const done = gesture;
  if (pointers.size) return;
  gesture = null;
  if (done?.kind !== "stroke") return;
  if (event.type === "pointercancel") view.setStrokes([]);
  else if (done.lock) lockStroke(done.points);
  else mark(done.points, done.add);
}
viewer.addEventListener("pointerup", finish);
viewer.addEventListener("pointercancel", finish);
viewer.addEventListener("pointerleave", () => {
  ghost.hidden = true;
  place.textContent = "";
});

viewer.addEventListener("wheel", (event) => {
  if (!state.session) return;
  event.preventDefault();
  const depth = state.session.shape[0];
  if (depth > 1 && !event.ctrlKey && !event.metaKey) {
    rolled += event.deltaY;
    if (Math.abs(rolled) < A_SLICE) return;
    const next = state.slice - Math.sign(rolled);
    rolled = 0;
    update({ slice: Math.min(depth - 1, Math.max(0, next)) });
  } else view.zoom(Math.exp(-event.deltaY / 500), ...at(event));
}, { passive: false });

// The ring of the brush, and the name of what lies under the pointer.
function hover(event, x, y) {
  if (!state.session) return;
  const point = view.toPixel(x, y);
  const inside = view.isInside(point);
  ghost.hidden = !inside || !paints() || event.pointerType === "touch";
  viewer.classList.toggle("ringed", !ghost.hidden);
  const across = Math.max(5, (2 * state.radius + 1) * view.scale());
  ghost.style.width = ghost.style.height = `${across}px`;
  ghost.style.transform = `translate(${x - across / 2}px, ${y - across / 2}px)`;
  const away = state.tool === "eraser" ? !event.shiftKey : event.shiftKey || event.altKey;
  ghost.dataset.away = away;
  ghost.style.borderColor = state.tool === "lock" || away ? "#ffffff" : colourOf(state.label);
  place.textContent = inside ? `row ${Math.round(point[0])}, column ${Math.round(point[1])}${nameAt(point)}` : "";
}

function nameAt(point) {
  const code = view.codeAt(point);
  if (!code) return "";
  const { kind, labels } = state.session;
  const names = kind === "regions" ? labels.filter((_, number) => (code >> number) & 1) : [labels[code - 1]];
  return ` · ${names.map((label) => label.name).join(", ")}`;
}

listen(["tool", "session"], showCursor);
