// What was written, put away while the reader is on another page: its tokens, and what
// can be shown of them without a model. The browser keeps it for this tab alone.

import { beginning, extend, path } from "./text.js";

const NAME = "rwkv-book-playground";

// Branches of texts as plain numbers, and back again as nodes without states.
export const packed = (branches) =>
  branches.map(({ name, seed, node }) => ({
    name,
    seed,
    tokens: path(node).map(({ token }) => token),
    written: path(node).map(({ written }) => Number(written)),
    logits: Array.from(node.logits),
  }));

// What branches share is one node for all of them, as it was before.
export function unpacked(branches) {
  const first = beginning(null), after = new Map();
  const next = (node, token, written) => {
    if (!after.has(node)) after.set(node, new Map());
    const known = after.get(node), key = 2 * token + Number(written);
    if (!known.has(key)) known.set(key, extend(node, token, {}, written));
    return known.get(key);
  };
  return branches.map(({ name, seed, tokens, written, logits }) => {
    const node = tokens.reduce((last, token, at) => next(last, token, !!written[at]), first);
    if (!node.length || !logits.length) throw new TypeError(); // see `kept`
    node.logits = Float32Array.from(logits);
    return { name, seed, node, unread: true };
  });
}

// A browser may forbid a page to keep anything, or have no room: then nothing is kept.
export function keep(what) {
  try {
    sessionStorage.removeItem(NAME);
    sessionStorage.setItem(NAME, JSON.stringify(what));
  } catch {
    // nor is the older text that stood there: it was removed first
  }
}

// What was kept, its branches unpacked; null if there is nothing of use.
export function kept() {
  try {
    const what = JSON.parse(sessionStorage.getItem(NAME));
    return what && { ...what, branches: what.branches && unpacked(what.branches) };
  } catch {
    return null;
  }
}
