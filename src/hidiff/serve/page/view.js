// The two canvases: the image, and over it masks, uncertainty, strokes and the cross.

import { colourOf, listen, state } from "./state.js";
import * as slices from "./slices.js";

const viewer = document.getElementById("viewer");
const layers = ["image", "overlay"].map((id) => document.getElementById(id));
const [imageContext, overlayContext] = layers.map((canvas) => canvas.getContext("2d"));
const view = { scale: 1, x: 0, y: 0, fitted: true };
let image = null;
let mask = null;
let heat = null;
let strokes = []; // drawn, and not answered yet
let flash = null;
let pending = false;
let asked = 0;
let shown = null; // the slice that is drawn

// Voxels that are longer than wide are drawn so.
function aspect() {
  const spacing = state.session?.spacing_mm;
  return spacing ? spacing[1] / spacing[2] : 1;
}

const ratio = () => window.devicePixelRatio || 1;

export function fit() {
  if (!state.session) return;
  const [height, width] = slices.size();
  const { clientWidth, clientHeight } = viewer;
  view.scale = 0.96 * Math.min(clientWidth / width, clientHeight / (height * aspect()));
  view.x = (clientWidth - width * view.scale) / 2;
  view.y = (clientHeight - height * aspect() * view.scale) / 2;
  view.fitted = true;
  redraw();
}

export function pan(dx, dy) {
  view.x += dx;
  view.y += dy;
  view.fitted = false;
  redraw();
}

export function zoom(factor, x = viewer.clientWidth / 2, y = viewer.clientHeight / 2) {
  const scale = Math.min(60, Math.max(0.05, view.scale * factor));
  view.x = x - ((x - view.x) * scale) / view.scale;
  view.y = y - ((y - view.y) * scale) / view.scale;
  view.scale = scale;
  view.fitted = false;
  redraw();
}

// Row and column of a place on the screen; whole numbers are the middles of pixels.
export function toPixel(x, y) {
  return [(y - view.y) / (view.scale * aspect()) - 0.5, (x - view.x) / view.scale - 0.5];
}

export function toScreen([row, column]) {
  return [view.x + (column + 0.5) * view.scale, view.y + (row + 0.5) * view.scale * aspect()];
}

export const scale = () => view.scale;

export function isInside([row, column]) {
  const [height, width] = slices.size();
  return row >= -0.5 && column >= -0.5 && row < height - 0.5 && column < width - 0.5;
}

export function codeAt([row, column]) {
  const [, width] = slices.size();
  return mask ? mask.codes[Math.round(row) * width + Math.round(column)] : 0;
}

export function setStrokes(list) {
  strokes = list;
  redraw();
}

// Show for a moment what a change did.
export function flashChange(bitmap) {
  if (!bitmap || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  flash = { bitmap, start: performance.now() };
  redraw();
}

// Fetch what the slice shown needs, then draw; the last call wins.
export async function refresh() {
  if (!state.session || state.session.state !== "ready") return;
  const mine = ++asked;
  const slice = state.slice;
  const masking = slices.maskOf(slice);
  masking.catch(() => {}); // awaited below
  const nextImage = await slices.imageOf(slice);
  if (mine !== asked) return;
  if (shown !== slice) {
    // the image first: the mask of a slice may have to be computed
    [image, mask, heat, shown] = [nextImage, null, null, slice];
    redraw();
  }
  const nextMask = await masking;
  const nextHeat = state.uncertainty ? await slices.heatFor(slice, nextMask) : null;
  if (mine !== asked) return;
  [image, mask, heat] = [nextImage, nextMask, nextHeat];
  viewer.dataset.shown = `${state.session.id} ${state.session.revision} ${slice}`;
  redraw();
  if (state.session.shape[0] > 1) slices.prefetch(slice);
}

export function clear() {
  [image, mask, heat, strokes, flash, shown] = [null, null, null, [], null, null];
  asked++;
}

export function redraw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    paint();
  });
}

function paint() {
  if (!image || !state.session) return;
  const r = ratio();
  for (const context of [imageContext, overlayContext]) {
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
    context.setTransform(view.scale * r, 0, 0, view.scale * aspect() * r, view.x * r, view.y * r);
  }
  imageContext.imageSmoothingEnabled = view.scale * r < 12; // beyond it one wants to see pixels
  imageContext.imageSmoothingQuality = "high";
  imageContext.drawImage(image, 0, 0);
  overlayContext.imageSmoothingEnabled = false;
  if (heat) overlayContext.drawImage(heat, 0, 0);
  if (mask && !state.hidden && state.draw !== "none") paintMask();
  if (mask?.hatch) overlayContext.drawImage(mask.hatch, 0, 0);
  paintFlash();
  strokes.forEach(paintStroke);
  if (state.cross) paintCross();
  document.getElementById("zoom").textContent = `${Math.round(view.scale * 100)} %`;
}

function paintMask() {
  const context = overlayContext;
  if (state.draw === "fill") {
    context.globalAlpha = state.opacity / 100;
    context.drawImage(mask.fill, 0, 0);
    context.globalAlpha = 1;
    return;
  }
  context.lineCap = "square";
  context.globalAlpha = Math.min(1, 0.35 + (0.65 * state.opacity) / 60);
  mask.paths.forEach((path, number) => {
    context.strokeStyle = colourOf(number);
    context.lineWidth = (number === state.label ? 1.7 : 1.3) / view.scale;
    context.stroke(path);
  });
  context.globalAlpha = 1;
}

function paintFlash() {
  if (!flash) return;
  const age = (performance.now() - flash.start) / 650;
  if (age >= 1) {
    flash = null;
    return;
  }
  overlayContext.globalAlpha = 0.85 * (1 - age);
  overlayContext.drawImage(flash.bitmap, 0, 0);
  overlayContext.globalAlpha = 1;
  redraw();
}

function paintStroke({ points, radius, colour, add }) {
  const context = overlayContext;
  context.save();
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = add ? colour : "#ffffff";
  context.globalAlpha = 0.55;
  context.lineWidth = Math.max(2 * radius + 1, 1.5 / view.scale);
  context.beginPath();
  points.forEach(([row, column]) => context.lineTo(column + 0.5, row + 0.5));
  if (points.length === 1) context.lineTo(points[0][1] + 0.5001, points[0][0] + 0.5);
  context.stroke();
  context.restore();
}

function paintCross() {
  const context = overlayContext;
  const r = ratio();
  const [x, y] = toScreen(state.cross);
  context.save();
  context.setTransform(r, 0, 0, r, x * r, y * r);
  for (const [colour, width] of [["#000", 3.5], ["#fff", 1.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(4 * dx, 4 * dy);
      context.lineTo(14 * dx, 14 * dy);
    }
    context.arc(0, 0, Math.max(3, (state.radius + 0.5) * view.scale), 0, 7);
    context.stroke();
  }
  context.restore();
}

new ResizeObserver(() => {
  for (const canvas of layers) {
    canvas.width = Math.round(viewer.clientWidth * ratio());
    canvas.height = Math.round(viewer.clientHeight * ratio());
  }
  if (view.fitted) fit();
  redraw();
}).observe(viewer);

listen(["draw", "opacity", "hidden", "cross", "label", "radius"], redraw);
