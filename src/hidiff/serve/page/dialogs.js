// Short messages, questions, and the bar that shows that something is under way.

const toast = document.getElementById("toast");
const busy = document.getElementById("busy");
const ask = document.getElementById("ask-dialog");
let working = 0;

export function say(text, bad = false, milliseconds = bad ? 9000 : 3500) {
  const line = document.createElement("p");
  line.textContent = text;
  line.className = bad ? "bad" : "";
  toast.replaceChildren(...[...toast.children].slice(-1), line);
  setTimeout(() => line.remove(), milliseconds);
}

// Run a task; show the bar if it takes longer than half a second.
export async function whileBusy(task) {
  const timer = setTimeout(() => {
    busy.hidden = false;
  }, 500);
  working++;
  try {
    return await task();
  } finally {
    clearTimeout(timer);
    if (--working === 0) busy.hidden = true;
  }
}

// Ask a question; return true, false, or the text typed where `secret` is set.
export function question(title, text, yes, no, secret = false) {
  const part = (name) => document.getElementById(`ask-${name}`);
  part("title").textContent = title;
  part("text").textContent = text;
  part("yes").textContent = yes;
  part("no").textContent = no;
  part("field").hidden = !secret;
  part("input").value = "";
  return new Promise((resolve) => {
    const finish = (answer) => {
      ask.oncancel = part("form").onsubmit = part("no").onclick = null;
      ask.close();
      resolve(answer);
    };
    part("form").onsubmit = (event) => {
      event.preventDefault();
      finish(secret ? part("input").value : true);
    };
    part("no").onclick = () => finish(false);
    ask.oncancel = () => finish(false);
    ask.showModal();
  });
}
