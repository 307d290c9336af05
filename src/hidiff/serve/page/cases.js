// The images of the folder that the server was started with: what is done, what is most doubtful.

import * as api from "./api.js";
import { openCase } from "./open.js";
import { icon } from "./elements.js";
import { listen, state } from "./state.js";

const list = document.getElementById("cases-list");
const sort = document.getElementById("cases-sort");
let cases = [];
let timer = null;

const order = (one, other) =>
  one.done - other.done || (other.doubt ?? -1) - (one.doubt ?? -1);

function inOrder() {
  return sort.checked ? [...cases].sort(order) : cases;
}

function row(each, most) {
  const button = document.createElement("button");
  const name = Object.assign(document.createElement("b"), { textContent: each.name });
  button.append(name);
  button.title = each.doubt === null ? each.name : `${each.name}: doubt ${each.doubt.toFixed(3)}`;
  if (each.done) button.append(icon("done"));
  else if (each.doubt !== null) {
    const gauge = Object.assign(document.createElement("span"), { className: "gauge" });
    const bar = document.createElement("i");
    bar.style.width = `${Math.round((100 * each.doubt) / most)}%`;
    gauge.append(bar);
    button.append(gauge);
  }
  button.setAttribute("aria-current", state.session?.case === each.id);
  button.onclick = () => openCase(each.id, each.name);
  const item = document.createElement("li");
  item.append(button);
  return item;
}

function draw() {
  const most = Math.max(1e-6, ...cases.map((each) => each.doubt ?? 0));
  list.replaceChildren(...inOrder().map((each) => row(each, most)));
  const done = cases.filter((each) => each.done).length;
  document.getElementById("cases-count").textContent = `${done} of ${cases.length} done`;
}

export async function reload() {
  clearTimeout(timer);
  const answer = await api.get("/cases");
  cases = answer.cases;
  draw();
  // the server ranks images while nobody waits for it
  if (answer.ranking) timer = setTimeout(() => reload().catch(() => {}), 4000);
}

export function next() {
  const left = inOrder().filter((each) => !each.done && each.id !== state.session?.case);
  if (left.length) openCase(left[0].id, left[0].name);
  return left.length > 0;
}

export const any = () => cases.length > 0;

export async function setUp() {
  await reload();
  document.getElementById("cases").hidden = !cases.length;
  sort.onchange = draw;
  listen(["session"], draw);
}
