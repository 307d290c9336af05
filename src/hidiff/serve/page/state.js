// What the page shows, in one object, and who wants to hear of changes.

export const COLOURS = ["#2ee6c9", "#ffb52e", "#ff6aa8", "#82a8ff", "#b9f24a", "#ff7d52", "#cf9bff", "#52d2ff", "#ffe566"];

export const state = {
  session: null, // as the API describes it
  slice: 0,
  label: 0, // index into session.labels
  tool: "brush",
  radius: 4,
  rough: false,
  draw: "outline",
  opacity: 45,
  share: 1, // 0: the prior, 1: the refined mask
  uncertainty: false,
  hidden: false, // the mask is hidden while X is held
  low: null,
  high: null,
  cross: null, // [row, column] of the keyboard's cross
};

const listeners = [];

export function listen(keys, callback) {
  listeners.push([new Set(keys), callback]);
}

export function update(changes) {
  const keys = Object.keys(changes).filter((key) => state[key] !== changes[key]);
  Object.assign(state, changes);
  for (const [wanted, callback] of listeners) {
    if (keys.some((key) => wanted.has(key))) callback(state);
  }
}

export const currentLabel = () => state.session.labels[state.label];
export const colourOf = (number) => COLOURS[number % COLOURS.length];
