// What changes a mask: marks, locks, undo and redo, alternatives. Sent one after another.

import * as api from "./api.js";
import { question, say, whileBusy } from "./dialogs.js";
import * as slices from "./slices.js";
import { colourOf, currentLabel, state, update } from "./state.js";
import * as view from "./view.js";

let queue = Promise.resolve();
const waiting = [];

const path = (what) => `/sessions/${state.session.id}/${what}`;
const isVolume = () => state.session.shape[0] > 1 || state.session.is_volume;
const pointOf = ([row, column]) => {
  const point = [row, column].map((each) => Math.round(each * 100) / 100);
  return isVolume() ? [state.slice, ...point] : point;
};

export function mark(points, add, radius = state.radius) {
  const stroke = { points, radius, add, colour: colourOf(state.label) };
  const body = { label: currentLabel().name, add, radius, exact: !state.rough };
  if (points.length === 1) body.point = pointOf(points[0]);
  else body.points = points.map(pointOf);
  return send("marks", body, stroke);
}

export function lockStroke(points, radius = state.radius) {
  const stroke = { points, radius, add: false, colour: "#ffffff" };
  return send("locks", { points: points.map(pointOf), radius }, stroke);
}

export const unlock = () => send("unlock");
export const lockLabel = (name) => send("locks", { label: name });
export const undo = () => state.session?.can_undo && send("undo");
export const redo = () => state.session?.can_redo && send("redo");
export const choose = (number) => send("choose", { number });
export const carryOn = () => send("carry-on");

function send(what, body = {}, stroke = null) {
  if (stroke) {
    waiting.push(stroke);
    view.setStrokes([...waiting]);
  }
  const id = state.session.id;
  queue = queue.then(async () => {
    try {
      if (state.session?.id !== id) return;
      await whileBusy(async () => take(await ask(path(what), body)));
    } catch (error) {
      if (error.name !== "AbortError") say(error.message, true);
    } finally {
      if (stroke) waiting.splice(waiting.indexOf(stroke), 1);
      view.setStrokes([...waiting]);
    }
  });
  return queue;
}

// Another tab may hold the session: ask who goes on.
export async function ask(address, body) {
  try {
    return await api.post(address, body);
  } catch (error) {
    if (error.status !== 409 || !error.message.includes("another tab")) throw error;
    const over = await question("Open in another tab", error.message, "Go on here", "Leave it there");
    if (!over) throw new DOMException("left", "AbortError");
    update({ session: await api.post(`/sessions/${state.session.id}/take-over`) });
    slices.forget("masks");
    return api.post(address, body);
  }
}

async function take(change) {
  const { codes, box, warnings, ...description } = change;
  const bitmap = slices.patch(change);
  update({ session: { ...state.session, ...description }, share: 1 });
  warnings.forEach((line) => say(line[0].toUpperCase() + line.slice(1), false, 9000));
  await view.refresh();
  view.flashChange(bitmap);
}
