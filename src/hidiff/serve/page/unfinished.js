// Images that are still open on the server: a closed tab or a killed browser loses nothing.

import * as api from "./api.js";
import { question, say } from "./dialogs.js";
import { element, icon } from "./elements.js";
import { openKnown } from "./open.js";
import { listen, state } from "./state.js";

const part = document.getElementById("unfinished");
const list = document.getElementById("unfinished-list");

async function close(session) {
  if (session.can_undo && !(await question(`Close ${session.name}?`, "Corrections that were not saved are lost.", "Close it", "Keep it"))) return;
  await api.remove(`/sessions/${session.id}`);
  await reload();
}

function row(session) {
  const about = [session.model, session.can_undo ? "corrected" : ""].filter(Boolean).join(" · ");
  const open = element("button", { className: "plain", title: "Go on with this image" }, element("b", { textContent: session.name }), element("small", { textContent: about }));
  open.onclick = () => openKnown(session.id, session.name);
  const end = element("button", { className: "icon", title: "Close it and delete its files", ariaLabel: `Close ${session.name}` }, icon("close"));
  end.onclick = () => close(session).catch((error) => say(error.message, true));
  return element("li", {}, open, end);
}

async function reload() {
  const sessions = (await api.get("/sessions")).filter((session) => session.state !== "failed");
  list.replaceChildren(...sessions.map(row));
  part.hidden = !sessions.length;
}

export async function setUp() {
  await reload();
  listen(["session"], () => state.session || reload().catch(() => {}));
}
