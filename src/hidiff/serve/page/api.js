// Requests to the server. A token lives in this tab alone; every error is one line.

const root = "/api/v1";
const tab = crypto.getRandomValues(new Uint32Array(2)).join("");
let token = takeToken();

function takeToken() {
  // The command prints ADDRESS/#token=...; what follows # never reaches the server or its log.
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("hidiff-token", given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem("hidiff-token");
}

export function setToken(given) {
  token = given;
  sessionStorage.setItem("hidiff-token", given);
}

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function headers(more = {}) {
  return { "X-Tab": tab, ...(token ? { Authorization: `Bearer ${token}` } : {}), ...more };
}

async function send(method, path, options = {}) {
  let answer;
  try {
    answer = await fetch(root + path, { method, ...options, headers: headers(options.headers) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer. Is the command still running? Saved sessions are safe.");
  }
  if (!answer.ok) throw new ApiError(answer.status, await lineOf(answer));
  return answer;
}

async function lineOf(answer) {
  try {
    return (await answer.json()).detail ?? `the server answered ${answer.status}.`;
  } catch {
    return `the server answered ${answer.status}.`;
  }
}

export const get = async (path, options) => (await send("GET", path, options)).json();
export const remove = (path) => send("DELETE", path, { keepalive: true });
export const post = async (path, body = {}) =>
  (await send("POST", path, { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } })).json();

export async function bitmap(path, options) {
  const blob = await (await send("GET", path, options)).blob();
  return createImageBitmap(blob);
}

export async function bytes(path, options) {
  return new Uint8Array(await (await send("GET", path, options)).arrayBuffer());
}

export async function download(path, method = "GET") {
  const answer = await send(method, path);
  const name = /filename\*=UTF-8''([^;]+)/.exec(answer.headers.get("Content-Disposition") ?? "");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name ? decodeURIComponent(name[1]) : "masks";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  return link.download;
}

// fetch cannot tell how much of a body has been sent, XMLHttpRequest can.
export function upload(path, form, onShare, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", root + path);
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.responseType = "json";
    request.upload.onprogress = (event) => onShare(event.loaded / event.total);
    request.onload = () =>
      request.status < 300
        ? resolve(request.response)
        : reject(new ApiError(request.status, request.response?.detail ?? `the server answered ${request.status}.`));
    request.onerror = () => reject(new ApiError(0, "The upload was cut off. The files may be too large, or the server has ended."));
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
