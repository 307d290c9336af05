// The slices of the open session: fetched when they are shown, kept while they hold.

import * as api from "./api.js";
import { state } from "./state.js";
import { differenceOf, fillOf, hatchOf, heatOf, outlineOf, testOf } from "./outline.js";

const KEPT = 40;
const images = new Map();
const masks = new Map(); // slice -> { codes, paths, fill, heat, hatch }
const asking = new Map(); // address -> the answer that is under way
let epoch = 0; // answers that belong to another image or to an older mask are dropped

export function forget(what = "all") {
  epoch++;
  masks.clear();
  if (what === "all") images.clear();
}

const path = (slice, what) => `/sessions/${state.session.id}/slices/${slice}/${what}`;

function keep(store, key, value) {
  store.delete(key);
  store.set(key, value);
  if (store.size > KEPT) store.delete(store.keys().next().value);
  return value;
}

// Ask once for what is asked for again before its answer is there.
function once(address, ask) {
  if (!asking.has(address)) asking.set(address, ask(address).finally(() => asking.delete(address)));
  return asking.get(address);
}

export async function imageOf(slice) {
  const range = state.low === null ? "" : `?low=${state.low}&high=${state.high}`;
  const key = slice + range;
  if (images.has(key)) return images.get(key);
  return keep(images, key, await once(path(slice, "image.png") + range, api.bitmap));
}

export async function maskOf(slice) {
  if (masks.has(slice)) return masks.get(slice);
  const asked = epoch;
  const [codes, locked] = await Promise.all([
    once(`${path(slice, `labels?format=raw&share=${state.share}`)}#${epoch}`, api.bytes),
    state.session.locks_pixels ? once(`${path(slice, "locked?format=raw")}#${epoch}`, api.bytes) : null,
  ]);
  const mask = draw(codes, locked);
  return asked === epoch ? keep(masks, slice, mask) : mask;
}

export async function heatFor(slice, mask) {
  if (!mask.heat) {
    const shares = await api.bytes(path(slice, "uncertainty?format=raw"));
    mask.heat = heatOf(shares, ...size());
  }
  return mask.heat;
}

export const size = () => state.session.shape.slice(1);

function draw(codes, locked) {
  const [height, width] = size();
  return {
    codes,
    paths: state.session.labels.map((_, number) => outlineOf(codes, height, width, testOf(state.session, number))),
    fill: fillOf(state.session, codes, height, width),
    hatch: locked?.some((each) => each) ? hatchOf(locked, height, width) : null,
    heat: null,
  };
}

// Take the changed box of an answer in; return what differs on the slice shown, as a bitmap.
export function patch(change) {
  const before = masks.get(state.slice);
  epoch++;
  if (!change.box || !change.codes || state.share !== 1 || state.session.locks_pixels) {
    masks.clear();
    return null;
  }
  const [[first, last], [top, bottom], [left, right]] = change.box;
  const part = Uint8Array.from(atob(change.codes), (each) => each.charCodeAt(0));
  const [height, width] = size();
  for (const slice of [...masks.keys()]) {
    if (slice < first || slice >= last) continue;
    const codes = masks.get(slice).codes.slice();
    for (let row = top; row < bottom; row++) {
      const start = ((slice - first) * (bottom - top) + row - top) * (right - left);
      codes.set(part.subarray(start, start + right - left), row * width + left);
    }
    masks.set(slice, draw(codes, null));
  }
  const after = masks.get(state.slice);
  return before && after && before !== after ? differenceOf(before.codes, after.codes, height, width) : null;
}

export function prefetch(slice) {
  const depth = state.session.shape[0];
  for (const next of [slice + 1, slice - 1]) {
    if (next >= 0 && next < depth) {
      imageOf(next).catch(() => {});
      maskOf(next).catch(() => {});
    }
  }
}
