// What the buttons of the header do.

import * as api from "./api.js";
import * as cases from "./cases.js";
import { ask, choose } from "./corrections.js";
import { question, say, whileBusy } from "./dialogs.js";
import { fillOf, outlineOf, testOf } from "./outline.js";
import { imageOf, maskOf, size } from "./slices.js";
import { colourOf, state, update } from "./state.js";

const part = (id) => document.getElementById(id);
const path = (what) => `/sessions/${state.session.id}/${what}`;
const guarded = (task) => whileBusy(task).catch((error) => error.name !== "AbortError" && say(error.message, true));

export const showHelp = () => part("help-dialog").showModal();

export function saveMasks() {
  return guarded(async () => {
    if (state.session.case) {
      const { files } = await ask(path("save"), {});
      say(`Saved: ${files.join(", ")}`);
      await cases.reload();
    } else say(`Saved: ${await api.download(path("masks"))}`);
    update({ session: { ...state.session, saved_revision: state.session.revision } });
  });
}

export function saveSession() {
  return guarded(async () => {
    say(`Saved: ${await api.download(path("file"))}`);
    update({ session: { ...state.session, saved_revision: state.session.revision } });
  });
}

const isUnsaved = () => state.session?.can_undo && state.session.saved_revision !== state.session.revision;

// Back to the start. Marks that are not saved are asked for first.
export async function leave() {
  if (!state.session) return true;
  if (isUnsaved() && !(await question("Leave this image?", "Its corrections are not saved yet.", "Leave it", "Stay"))) return false;
  await api.remove(`/sessions/${state.session.id}`).catch(() => {});
  update({ session: null });
  history.replaceState(null, "", location.pathname);
  return true;
}

export async function nextCase() {
  if (!cases.any() || !(await leave())) return;
  if (!cases.next()) say("All images of the folder are done.");
}

export function showCandidates() {
  if (!state.session) return;
  return guarded(async () => {
    const { candidates } = await ask(path("candidates"), { count: 4, slice: state.slice });
    if (!candidates.length) {
      say("There is no other mask that differs enough.");
      return;
    }
    const image = await imageOf(state.slice);
    const now = { number: null, note: "as it is" };
    part("candidates-list").replaceChildren(...(await Promise.all([now, ...candidates].map((each) => card(each, image)))));
    part("candidates-dialog").showModal();
  });
}

// A picture of a mask on its image, to choose; without a number it is the mask as it is.
async function card({ number, note }, image) {
  const [height, width] = size();
  const { codes } = number ? { codes: await api.bytes(path(`candidates/${number}/slices/${state.slice}`)) } : await maskOf(state.slice);
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  context.globalAlpha = 0.3;
  context.drawImage(fillOf(state.session, codes, height, width), 0, 0);
  context.globalAlpha = 1;
  state.session.labels.forEach((_, number) => {
    context.strokeStyle = colourOf(number);
    context.lineWidth = Math.max(1.5, width / 300);
    context.stroke(outlineOf(codes, height, width, testOf(state.session, number)));
  });
  const button = document.createElement("button");
  const text = document.createElement("small");
  text.textContent = note;
  button.append(canvas, text);
  button.ariaCurrent = !number;
  button.onclick = () => {
    part("candidates-dialog").close();
    if (number) choose(number);
  };
  return button;
}

export function setUp() {
  window.addEventListener("beforeunload", (event) => {
    if (isUnsaved()) event.preventDefault();
  });
}
