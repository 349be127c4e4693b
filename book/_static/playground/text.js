// A text as the model reads it: one byte after the other, each a node that points to
// the one before. Rewinding goes back along the pointers; a branch is a second node
// with the same past. Nothing is copied: what branches have in common is there once.

// What there is before the first byte.
export function beginning(state) {
  return { length: 0, parent: null, state, text: "", waiting: [] };
}

// One byte more. `logits`, `state` and `parts` are what a model's `step` gives for it.
export function extend(parent, token, { logits, state, parts }, written) {
  const arrived = [...parent.waiting, token];
  const text = new TextDecoder().decode(Uint8Array.from(arrived), { stream: true });
  const waiting = text === "" ? arrived : isFirstOfMany(token) ? [token] : [];
  const length = parent.length + 1;
  return { length, parent, token, written, logits, state, parts, text, waiting };
}

// Bytes that make half a character wait in `waiting` for the rest of it.
const isFirstOfMany = (byte) => byte >= 0xc2 && byte <= 0xf4;

// All nodes of a text, from its first byte on.
export function path(node) {
  const nodes = new Array(node.length);
  for (; node.parent; node = node.parent) nodes[node.length - 1] = node;
  return nodes;
}

// The bytes of a text that someone typed.
export const bytes = (text) => [...new TextEncoder().encode(text)];

// Texts with their ends of lines and of texts made visible.
export const shownInText = (text) =>
  text.replaceAll("\n", "⏎\n").replaceAll("\0", "∎");
export const shownOnOneLine = (text) => shownInText(text).replaceAll("\n", "");

// A token of the model, a byte, as something that can be seen.
const NAMES = { "\0": "∎", "\t": "⇥", "\n": "⏎", " ": "␣" };
export function tokenName(byte) {
  const character = String.fromCharCode(byte);
  const printed = byte > 0x20 && byte < 0x7f ? character : null;
  return NAMES[character] ?? printed ?? `byte ${byte}`;
}
