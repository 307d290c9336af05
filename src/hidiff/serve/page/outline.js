// From the codes of a slice to what is drawn: a coloured bitmap and the outline of each class.

import { colourOf } from "./state.js";

// One class and exclusive classes: the code is 0 or the number of the class. Regions: a bit each.
export function testOf(session, number) {
  if (session.kind === "regions") return (code) => (code >> number) & 1;
  return (code) => (code === number + 1 ? 1 : 0);
}

// Edges between pixels of the class and others, as few long lines.
export function outlineOf(codes, height, width, test) {
  const path = new Path2D();
  const inside = new Uint8Array(codes.length);
  for (let i = 0; i < codes.length; i++) inside[i] = test(codes[i]);
  for (let row = 0; row <= height; row++) {
    let from = -1;
    for (let column = 0; column <= width; column++) {
      const above = row > 0 && column < width ? inside[(row - 1) * width + column] : 0;
      const below = row < height && column < width ? inside[row * width + column] : 0;
      if (above !== below) {
        if (from < 0) from = column;
      } else if (from >= 0) {
        path.moveTo(from, row);
        path.lineTo(column, row);
        from = -1;
      }
    }
  }
  for (let column = 0; column <= width; column++) {
    let from = -1;
    for (let row = 0; row <= height; row++) {
      const left = column > 0 && row < height ? inside[row * width + column - 1] : 0;
      const right = column < width && row < height ? inside[row * width + column] : 0;
      if (left !== right) {
        if (from < 0) from = row;
      } else if (from >= 0) {
        path.moveTo(column, from);
        path.lineTo(column, row);
        from = -1;
      }
    }
  }
  return path;
}

function channels(colour) {
  return [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
}

function bitmapOf(height, width, paint) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  paint(pixels.data);
  context.putImageData(pixels, 0, 0);
  return canvas;
}

export function fillOf(session, codes, height, width) {
  const colours = session.labels.map((_, number) => channels(colourOf(number)));
  const regions = session.kind === "regions";
  return bitmapOf(height, width, (data) => {
    for (let i = 0; i < codes.length; i++) {
      const code = codes[i];
      if (!code) continue;
      // of regions that lie in each other the last, which is the smallest, is on top
      const number = regions ? 31 - Math.clz32(code) : code - 1;
      data.set(colours[number], 4 * i);
      data[4 * i + 3] = 255;
    }
  });
}

// Where two masks differ, in white: what the last change did.
export function differenceOf(before, after, height, width) {
  return bitmapOf(height, width, (data) => {
    for (let i = 0; i < after.length; i++) {
      if (before[i] !== after[i]) data.fill(255, 4 * i, 4 * i + 4);
    }
  });
}

const RAMP = ["#2a0a4a", "#8c2981", "#de4968", "#fe9f6d", "#fcfdbf"].map(channels);

const CERTAIN = 12; // of 255: below it nothing is drawn

export function heatOf(shares, height, width) {
  return bitmapOf(height, width, (data) => {
    for (let i = 0; i < shares.length; i++) {
      if (shares[i] < CERTAIN) continue;
      const place = (shares[i] / 255) * (RAMP.length - 1);
      const low = Math.min(Math.floor(place), RAMP.length - 2);
      for (let c = 0; c < 3; c++) {
        data[4 * i + c] = RAMP[low][c] + (RAMP[low + 1][c] - RAMP[low][c]) * (place - low);
      }
      data[4 * i + 3] = Math.min(225, shares[i] * 1.6);
    }
  });
}

// Locked pixels as a hatch, so that the image stays visible.
export function hatchOf(locked, height, width) {
  return bitmapOf(height, width, (data) => {
    for (let i = 0; i < locked.length; i++) {
      if (locked[i] && (((i % width) + Math.floor(i / width)) & 3) === 0) {
        data.fill(255, 4 * i, 4 * i + 4);
        data[4 * i + 3] = 190;
      }
    }
  });
}
