// A name that was said, and what is left of it later, beside seven that nobody said. Some
// names come with the page; any other is read by the model, in a worker, once a reader has
// asked for it. labs/recall.py asks in the same way, and show/planted.py draws the same.

import { Model } from "../playground/model.js";
import { bytes } from "../playground/text.js";
import { startWorker, weights } from "./beside.js";
import { escape, filled, written } from "./words.js";

const START = 0; // the token before every text

let reader = null; // the model and its first state, once they are there
let loading = null; // a promise of them, once they have been asked for
let failed = false; // whether the last file that came was of no use
let progress; // of the newest figure: an older one may have begun to load

// later: where a figure is shown that has to be fetched or computed.
export function planted({ name, time }, data, later) {
  const own = name.trim().toUpperCase();
  const names = namesWith(own, data);
  if (!names) return `<p>${escape(own ? filled(data.words.wrong, { name }) : data.words.nothing)}</p>`;
  const said = data.names.indexOf(own);
  if (said >= 0) {
    return drawn(data.names, data.gains[time][said], said, data.later[time], data);
  }
  if (!loading && !later.pressed) return offer(data.words.ask, data);
  progress = later.progress;
  answer(names, time, data, later).catch((error) => {
    const reason = error.message || data.words.unknown;
    later.show(offer(filled(data.words.failed, { reason }), data));
  });
  return reader ? reading(own, data) : waiting(data.words.loading);
}

const offer = (said, { button }) =>
  `<p>${escape(said)}</p><p><button type="button">${escape(button)}</button></p>`;

const reading = (name, { words }) => waiting(filled(words.reading, { name }));

const waiting = (said) =>
  `<p>${escape(said)}</p><p><progress aria-label="${escape(said)}"></progress></p>`;

async function answer(names, time, data, later) {
  if (!reader) {
    reader = await (loading ??= load(data.file));
    later.show(reading(names[0], data));
  }
  if (!later.isWanted()) return;
  const steps = stepsOf(names, time, data);
  const work = asked(names, time, data, reader.state);
  let next = work.next();
  for (let done = 0; !next.done; done++) {
    next = work.next(await reader.model.step(...next.value));
    if (!later.isWanted()) return;
    later.progress(done, steps);
  }
  later.show(drawn(names, gained(next.value), 0, data.later[time], data));
}

async function load(file) {
  let model;
  try {
    const address = await weights(file);
    model = new Model(await startWorker(), (received, total) => progress(received, total || 1));
    return { model, state: (await model.load(address, failed)).state };
  } catch (error) {
    model?.end();
    [loading, failed] = [null, true]; // the button tries again
    throw error;
  }
}

// The eight names of `plant`, the reader's first; null where that is none.
export function namesWith(own, { pool }) {
  if (!/^[A-Z]{2,12}$/.test(own)) return null;
  const others = pool.map((name) => name.slice(0, own.length)).filter((name) => name !== own);
  return [own, ...others.slice(0, 7)];
}

// States of the texts that were read last, after each passage: who moves the slider reads
// on, or goes back.
let read = { names: "", states: [] };

function readSoFar(names) {
  if (read.names !== names.join()) read = { names: names.join(), states: [] };
  return read.states;
}

// What text n is read next: what its own newcomer says, and then what comes between.
function passage(at, name, { told, between }) {
  if (at) return bytes(between[at - 1]);
  const written = name[0] + name.slice(1).toLowerCase();
  return [START, ...bytes(filled(told, { name, Name: written }))];
}

// Every name in every text, `time` passages later: rows of ln p, a row for each text. It
// yields a token and a state, and is given what a model's `step` makes of them.
export function* asked(names, time, data, first) {
  const states = readSoFar(names);
  for (let at = states.length; at <= time; at++) {
    const after = [];
    for (const [n, name] of names.entries()) {
      let state = at ? states[at - 1][n] : first;
      for (const token of passage(at, name, data)) ({ state } = yield [token, state]);
      after.push(state);
    }
    states.push(after);
  }
  const rows = [];
  for (let state of states[time]) {
    let begun;
    for (const token of bytes(data.asked)) ({ state } = begun = yield [token, state]);
    const row = [];
    for (const name of names) row.push(yield* spoken(bytes(name), begun));
    rows.push(row);
  }
  return rows;
}

// ln p of a name, after what the model made of all before it.
function* spoken(name, after) {
  let sum = 0;
  for (const [place, token] of name.entries()) {
    if (place) after = yield [name[place - 1], after.state];
    sum += logProbability(after.logits, token);
  }
  return sum;
}

function logProbability(logits, token) {
  const most = logits.reduce((a, b) => Math.max(a, b));
  return logits[token] - most - Math.log(logits.reduce((sum, x) => sum + Math.exp(x - most), 0));
}

// How many steps `asked` will take.
export function stepsOf(names, time, data) {
  let each = bytes(data.asked).length + names.length * (names[0].length - 1);
  for (let at = readSoFar(names).length; at <= time; at++) {
    each += passage(at, names[0], data).length;
  }
  return names.length * each;
}

// What the first text adds to each name, in nats: against the texts that say neither.
export function gained(rows) {
  return rows[0].map((here, j) => {
    const others = rows.filter((_, text) => text && text !== j).map((row) => row[j]);
    return here - others.reduce((sum, each) => sum + each, 0) / others.length;
  });
}

function drawn(names, gains, said, later, { header, words, colours }) {
  const found = gains.map((gain) => Math.floor(100 * gain + 0.5) / 100);
  const others = names.map((_, n) => n).filter((n) => n !== said);
  const best = others.reduce((top, n) => (found[n] > found[top] ? n : top));
  const ends = { name: names[said], later, times: times(found[said]) };
  Object.assign(ends, { best: names[best], most: times(found[best]) });
  const named = (name, n) => (n === said ? `${escape(name)}, said` : escape(name));
  const rows = names.map(
    (name, n) =>
      `<tr><th scope="row">${named(name, n)}</th>` +
      `${bar(found[n], colours[n === said ? 0 : 1])}<td>${times(found[n])}</td></tr>`,
  );
  return (
    `<p><strong>${escape(filled(words.found, ends))}</strong></p>` +
    '<table class="table" style="width: 100%"><thead><tr>' +
    header.map((name) => `<th scope="col">${name}</th>`).join("") +
    `</tr></thead><tbody>${rows.join("")}</tbody></table>`
  );
}

const times = (gain) => `${Math.floor(10 * Math.exp(gain) + 0.5) / 10}`;

function bar(gain, colour) {
  const wide = Math.min(50, 10 * Math.abs(gain));
  const left = gain > 0 ? 50 : 50 - wide;
  return (
    `<td style="width: 40%">${written(gain)}<span style="display: block; ` +
    `height: 0.4rem; margin-left: ${written(left)}%; width: ${written(wide)}%; ` +
    `background: ${colour}"></span></td>`
  );
}
