// The two faces of a model on a reader's text: how probable is each letter, found from
// all letters at once and one by one with a state? Nothing is fetched before a letter has
// been typed: what stands there first comes with the page.

import { download } from "../playground/download.js";
import { initialState, step } from "../playground/rwkv.js";
import { load } from "../playground/weights.js";
import { atOnce } from "./at_once.js";
import { weights } from "./beside.js";
import { escape, filled } from "./words.js";

const START = 0; // the token before every text

let params = null; // a promise of the weights, once they have been asked for
let failed = false;
const ask = (file, progress) =>
  (params ??= weights(file)
    .then((address) => download(address, failed, progress))
    .then(load)
    .catch((error) => {
      [params, failed] = [null, true]; // the next letter tries again
      throw error;
    }));

// later: what the figure shows some time after, unless another text has been typed.
export function faces({ text }, data, later) {
  if (text === data.text) return drawn(data.start, data);
  const letters = [...text];
  const waiting = (said) => later.show(drawn({ letters, said }, data));
  const progress = (received, total) => {
    const of = total ? ` of ${(total / 1e6).toFixed(1)}` : "";
    waiting(`Fetching the model, once: ${(received / 1e6).toFixed(1)}${of} MB`);
  };
  answered(text, data, later, progress).catch((error) => {
    const reason = error.message || "no reason was given";
    waiting(`The model could not be loaded (${reason}): type one more letter to try again.`);
  });
  return drawn({ letters, said: "Reading …" }, data);
}

async function answered(text, data, later, progress) {
  const known = await ask(data.file, progress);
  const tokens = [START, ...new TextEncoder().encode(text)];
  const work = both(tokens, known);
  for (;;) {
    const { done, value } = work.next();
    if (done) return later.show(drawn(found(text, value, known, data), data));
    await new Promise((resolve) => setTimeout(resolve));
    if (!later.isWanted()) return;
  }
}

// States after the tokens that were read last, so that a letter more is one step more.
let readSoFar = [];

// All at once and one by one, with a pause now and then: {atOnce, oneByOne, state}.
export function* both(tokens, params) {
  const together = yield* atOnce(tokens, params);
  const read = [];
  for (const [t, token] of tokens.entries()) {
    const old = readSoFar[t];
    const known = old?.token === token && old.params === params && old.before === read[t - 1];
    if (!known) {
      const { logits, state } = step(token, read[t - 1]?.state ?? initialState(params), params);
      read.push({ token, params, logits, state, before: read[t - 1] });
      yield;
    } else read.push(old);
  }
  readSoFar = read;
  return { atOnce: together, oneByOne: read.map(({ logits }) => logits), state: read.at(-1).state };
}

// What is to be shown, in the shapes that show/faces.py has.
export function found(text, { atOnce: together, oneByOne, state }, params, { likeliest }) {
  const tokens = [...new TextEncoder().encode(text)];
  const rows = [together, oneByOne].map((logits) => logits.map(probabilities));
  const letters = [...text], shares = rows.map(() => []);
  let at = 0;
  for (const letter of letters) {
    const { length } = new TextEncoder().encode(letter);
    rows.forEach((row, n) => {
      let share = 1;
      for (let t = at; t < at + length; t++) share *= row[t][tokens[t]];
      shares[n].push(share);
    });
    at += length;
  }
  const [end, last] = rows.map((row) => row.at(-1));
  const order = [...last.keys()].sort((a, b) => last[b] - last[a] || a - b).slice(0, likeliest);
  const differences = letters.map((_, t) => shares[0][t] - shares[1][t]);
  differences.push(...order.map((token) => end[token] - last[token]));
  return {
    letters,
    shares,
    apart: 100 * Math.max(...differences.map(Math.abs)),
    next: order.map((token) => [token, last[token]]),
    state: averages(state, params),
    numbers: state.flat().reduce((sum, array) => sum + array.length, 0),
  };
}

function probabilities(logits) {
  const most = logits.reduce((a, b) => Math.max(a, b));
  const weights = Array.from(logits, (logit) => Math.exp(logit - most));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

const CELLS = 32; // averages that are shown of each layer, from the quickest to forget on

const averages = (state, params) =>
  state.map(([, num, den], layer) => {
    const rates = params[`blocks.${layer}.time_mix.log_decay_rate`];
    const order = [...rates.keys()].sort((a, b) => rates[b] - rates[a] || a - b);
    const every = order.length / CELLS;
    return Array.from({ length: CELLS }, (_, n) => order[Math.floor(n * every)])
      .map((c) => num[c] / den[c]);
  });

// --- what is drawn, letter by letter as in show/faces.py --------------------------------

export function drawn(all, data) {
  const { letters, shares, said } = all;
  const head = letters.map((letter) => `<th scope="col">${name(letter)}</th>`).join("");
  const rows = data.rows.map((row, n) => {
    const cells = letters.map((_, t) => cell(shares?.[n][t], data));
    return `<tr><th scope="row">${row}</th>${cells.join("")}</tr>`;
  });
  return (
    `<p>${escape(said ?? words(all, data))}</p>` +
    `<div class="live-faces" role="region" aria-label="${data.label}" aria-live="off" tabindex="0">` +
    `<table class="table"><thead><tr><td></td>${head}</tr></thead>` +
    `<tbody>${rows.join("")}</tbody></table></div>${strips(all, data)}`
  );
}

function cell(share, { tint }) {
  if (share === undefined) return "<td>…</td>";
  return `<td style="background: rgba(${tint}, ${rounded(0.6 * share)})">${percent(share)}</td>`;
}

function words({ letters, apart, next }, { words: text, nothing }) {
  const expected = next.map(([token, share]) => `“${byte(token)}” ${percent(share)}`).join("; ");
  return filled(letters.length ? text : nothing, { most: apart.toFixed(3), next: expected });
}

function strips({ state, numbers }, { state: text, tint, other }) {
  if (!state) return "";
  const said = filled(text, { numbers: numbers.toLocaleString("en-US") });
  const rects = state.flatMap((row, layer) =>
    row.map((value, n) => {
      const colour = value < 0 ? other : tint;
      const strength = rounded(Math.min(1, Math.abs(value) / 2));
      return (
        `<rect x="${10 * n}" y="${12 * layer}" width="9" height="10" ` +
        `fill="rgb(${colour})" fill-opacity="${strength}"/>`
      );
    }));
  return (
    `<svg role="img" aria-label="${escape(said)}" viewBox="0 0 ${10 * state[0].length} ` +
    `${12 * state.length}" style="display: block; width: 100%; max-width: 32rem">` +
    `${rects.join("")}</svg><p class="live-note" aria-hidden="true">${escape(said)}</p>`
  );
}

const rounded = (number) => `${Math.floor(100 * number + 0.5) / 100}`;
const percent = (share) => (Math.floor(1000 * share + 0.5) / 10).toFixed(1);
const NAMES = { " ": "␣", "\n": "⏎", "\t": "⇥" };
const name = (letter) => escape(NAMES[letter] ?? letter);
function byte(token) {
  const letter = String.fromCharCode(token);
  return NAMES[letter] ?? (token > 32 && token < 127 ? letter : `#${token}`);
}
