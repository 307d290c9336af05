// Puts the parts together.

import "./theme.js";
import * as actions from "./actions.js";
import * as api from "./api.js";
import * as cases from "./cases.js";
import { carryOn, redo, undo } from "./corrections.js";
import { question, say, whileBusy } from "./dialogs.js";
import * as keys from "./keys.js";
import * as open from "./open.js";
import * as panel from "./panel.js";
import * as slices from "./slices.js";
import { listen, state, update } from "./state.js";
import "./tools.js";
import * as unfinished from "./unfinished.js";
import * as view from "./view.js";

const part = (id) => document.getElementById(id);
const guarded = (task) => task().catch((error) => error.name !== "AbortError" && say(error.message, true));

const refresh = () => guarded(() => whileBusy(view.refresh));

function begin(session) {
  slices.forget();
  view.clear();
  const middle = session.first_slice;
  const { low, high } = session.window;
  update({ session, slice: middle, label: 0, low, high, share: 1, cross: null, hidden: false });
  document.body.classList.remove("no-session");
  history.replaceState(null, "", `?session=${session.id}`);
  view.fit();
  refresh();
  part("viewer").focus({ preventScroll: true });
  guarded(() => follow(session.id));
}

function showSession() {
  const { session } = state;
  document.body.classList.toggle("no-session", !session);
  part("title").textContent = session?.name ?? "";
  part("model-name").textContent = session?.model ?? "";
  document.title = session ? `${session.name} · HiDiff` : "HiDiff";
  if (!session) return;
  const depth = session.shape[0];
  part("slices").hidden = depth < 2;
  part("slice").max = depth;
  part("carry").hidden = depth < 2;
  part("segmenting").hidden = session.segmented >= depth;
  part("segmented").value = session.segmented / depth;
}

// The server segments the slices of a volume one after another: follow it.
async function follow(id) {
  while (state.session?.id === id && state.session.segmented < state.session.shape[0]) {
    await new Promise((resolve) => setTimeout(resolve, 800));
    if (state.session?.id !== id) return;
    const { segmented, labels } = await api.get(`/sessions/${id}`);
    if (state.session?.id === id) update({ session: { ...state.session, segmented, labels } });
  }
}

// Another tab may have changed the image while this one was out of sight.
async function catchUp() {
  if (!state.session) return;
  const now = await api.get(`/sessions/${state.session.id}`);
  if (now.id !== state.session?.id || now.revision === state.session.revision) return;
  slices.forget("masks");
  update({ session: { ...state.session, ...now } });
  await view.refresh();
}

function showSlice() {
  part("slice").value = state.slice + 1;
  if (state.session) part("slice-number").textContent = `${state.slice + 1} / ${state.session.shape[0]}`;
}

function setUpButtons() {
  const click = { open: openAnother, undo, redo, candidates: actions.showCandidates, save: actions.saveMasks, keep: actions.saveSession, help: actions.showHelp, carry: carryOn };
  for (const [id, run] of Object.entries(click)) part(id).onclick = () => run();
  const move = (slice) => update({ slice: Math.min(state.session.shape[0] - 1, Math.max(0, slice)) });
  part("slice").oninput = () => move(part("slice").value - 1);
  part("slice-back").onclick = () => move(state.slice - 1);
  part("slice-on").onclick = () => move(state.slice + 1);
}

// From an image back to the start; at the start, the choice of files.
function openAnother() {
  if (state.session) return actions.leave();
  part("files").click();
}

async function connect() {
  for (;;) {
    try {
      return await api.get("/status");
    } catch (error) {
      if (error.status !== 401) throw error;
      const token = await question("Token", "This server asks for its token. Whoever started it has it.", "Go on", "Cancel", true);
      if (!token) throw error;
      api.setToken(token);
    }
  }
}

async function start() {
  panel.setUp();
  keys.setUp();
  actions.setUp();
  setUpButtons();
  open.setUp(begin);
  listen(["session"], showSession);
  listen(["slice", "session"], showSlice);
  listen(["slice", "uncertainty", "low", "high"], refresh);
  listen(["share"], () => {
    slices.forget("masks");
    refresh();
  });
  document.addEventListener("visibilitychange", () => document.hidden || guarded(catchUp));
  const status = await connect();
  part("version").textContent = `HiDiff ${status.version}`;
  part("where").textContent = status.is_local ? "this machine" : location.host;
  open.showModels((await api.get("/models")).models);
  await cases.setUp();
  guarded(unfinished.setUp);
  const known = new URLSearchParams(location.search).get("session");
  if (known) await open.openKnown(known);
  else if (status.first_case) await open.openCase(status.first_case, "the image");
}

guarded(start);
