// The start: drop or choose files, choose a model, see how far it is.

import * as api from "./api.js";

const part = (id) => document.getElementById(id);
let stop = null;
let begin = null; // called with a session that is ready

export function showModels(models) {
  const fields = models.map((model, number) => {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "model", value: model.name, checked: number === 0 });
    const name = Object.assign(document.createElement("b"), { textContent: model.name });
    const text = [model.title || model.classes.join(", "), model.takes].filter(Boolean).join(" · ");
    const about = Object.assign(document.createElement("small"), { textContent: text });
    label.append(input, name, about);
    return label;
  });
  part("models").append(...fields);
}

const chosenModel = () => document.querySelector("input[name=model]:checked")?.value ?? "";

export async function openFiles(files) {
  const list = [...files];
  if (!list.length) return;
  const form = new FormData();
  form.append("model", chosenModel());
  for (const file of list) form.append("files", file, file.name);
  const name = list.length === 1 ? list[0].name : `${list.length} files`;
  await run(name, (signal) => api.upload("/sessions", form, (share) => progress("Sending", share), signal));
}

export async function openCase(id, name) {
  const form = new FormData();
  form.append("model", chosenModel());
  form.append("case", id);
  await run(name, (signal) => api.upload("/sessions", form, () => {}, signal));
}

export async function openKnown(id, name = "the session") {
  await run(name, () => api.get(`/sessions/${id}`));
}

async function run(name, start) {
  stop?.abort();
  stop = new AbortController();
  const { signal } = stop;
  fail("");
  part("drop").hidden = part("research").hidden = true;
  part("opening").hidden = false;
  document.body.classList.add("no-session");
  part("opening-title").textContent = `Opening ${name}`;
  progress("Sending", null);
  try {
    let session = await start(signal);
    while (session.state === "opening") {
      if (signal.aborted) {
        api.remove(`/sessions/${session.id}`).catch(() => {});
        throw new DOMException("stopped", "AbortError");
      }
      progress(session.step, session.progress);
      session = await api.get(`/sessions/${session.id}?wait=1`, { signal });
    }
    if (session.state === "failed") {
      api.remove(`/sessions/${session.id}`).catch(() => {});
      throw new api.ApiError(422, session.error);
    }
    begin(session);
  } catch (error) {
    if (error.name !== "AbortError") fail(error.message.includes(name) ? error.message : `${name}: ${error.message}`);
  } finally {
    part("drop").hidden = part("research").hidden = false;
    part("opening").hidden = true;
  }
}

// What went wrong stays on the page until the next try; an empty line hides it.
function fail(line) {
  part("failure").textContent = line;
  part("failure").hidden = !line;
}

function progress(line, share) {
  part("opening-line").textContent = line;
  if (share === null) part("opening-bar").removeAttribute("value");
  else part("opening-bar").value = share;
}

// The files of a dropped folder too, as DICOM comes.
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return transfer.files;
  const files = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return;
      for (const each of some) await walk(each);
    }
  };
  for (const entry of entries) await walk(entry);
  return files;
}

export function setUp(onReady) {
  begin = onReady;
  part("choose").onclick = () => part("files").click();
  part("choose-folder").onclick = () => part("folder").click();
  for (const id of ["files", "folder"]) {
    part(id).onchange = () => {
      openFiles(part(id).files);
      part(id).value = "";
    };
  }
  part("opening-stop").onclick = () => stop?.abort();
  const hint = part("drop-hint");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    hint.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) hint.hidden = true;
  });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    hint.hidden = true;
    openFiles(await filesOf(event.dataTransfer));
  });
}
