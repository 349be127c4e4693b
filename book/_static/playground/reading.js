// A model reads a text: one token more, all of it again, or a part of it for a state that
// was not kept. `reader` is a model and its `every`: of states as large as RWKV-7's only
// one in so many is kept, and those that come after it are computed again.

import { beginning, extend, path } from "./text.js";

// One token more: a new node, and the milliseconds that the model took.
export async function readOn(node, token, written, reader) {
  const answer = await reader.model.step(token, await stateAfter(node, reader));
  forget(node.parent, reader);
  return { node: extend(node, token, answer, written), took: answer.milliseconds };
}

// Texts that were read by another model, {old node: new node}: what they share is read
// once. `progress` is told how many tokens have been read.
export async function readAgain(ends, state, reader, progress) {
  const again = new Map(), first = beginning(state);
  for (const old of ends.flatMap((end) => path(end))) {
    if (again.has(old)) continue;
    const parent = again.get(old.parent) ?? first;
    again.set(old, (await readOn(parent, old.token, old.written, reader)).node);
    progress(again.size);
  }
  return again;
}

// The state after a node.
export async function stateAfter(node, reader) {
  const missing = [];
  for (let last = node; !last.state; last = last.parent) missing.unshift(last);
  for (const next of missing) {
    next.state = (await reader.model.step(next.token, next.parent.state)).state;
    forget(next.parent, reader);
  }
  return node.state;
}

function forget(node, { every }) {
  if (node?.parent && node.length % every) node.state = null;
}
