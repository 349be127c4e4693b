// The figures: each makes HTML of the values of its controls and of the data that the
// page brings. The words come with the data, so that Python says the same.

import { listening as weightsOf } from "../playground/listening.js";
import { distribution } from "../playground/sample.js";
import { answers } from "./cost.js";
import { escape, filled, written } from "./words.js";

// One of the pictures that were made beforehand: a script of the page holds them, for
// each value of the first control, and within it of the second.
const pictures = {};
export function frames(values, { from }) {
  pictures[from] ??= JSON.parse(document.getElementById(from).textContent);
  return Object.values(values).reduce((found, at) => found[at], pictures[from]);
}

// What a training run costs. data: rows of a name and a text, and how many accelerators.
export function cost(values, { rows, together }) {
  const found = answers(values, together);
  const row = ([name, text]) => `<dt>${escape(name)}</dt><dd>${escape(filled(text, found))}</dd>`;
  return `<dl>${rows.map(row).join("")}</dl>`;
}

// Averages that halve the past at every step and count the newest number double, found
// from all pairs and from two running sums; of the numbers in a text.
export function chain({ numbers }, { header, nothing, most }) {
  const rows = averages((numbers.match(/-?\d{1,3}(?:\.\d)?/g) ?? []).slice(0, most).map(Number));
  if (!rows.length) return `<p>${escape(nothing)}</p>`;
  const row = (texts) => `<tr>${texts.map((text) => `<td>${text}</td>`).join("")}</tr>`;
  const head = header.map((name) => `<th>${escape(name)}</th>`).join("");
  return (
    `<table class="table"><thead><tr>${head}</tr></thead>` +
    `<tbody>${rows.map(row).join("")}</tbody></table>`
  );
}

function averages(values) {
  let num = 0;
  let den = 0;
  return values.map((value, t) => {
    const weights = [...values.slice(0, t).map((_, i) => 0.5 ** (t - 1 - i)), 2];
    const pairs = weights.reduce((sum, weight, i) => sum + weight * values[i], 0);
    const weight = weights.reduce((sum, each) => sum + each, 0);
    const row = [
      written(value),
      `${written(pairs)} / ${written(weight)} = ${written(pairs / weight)}`,
      `(${written(num)} + 2 · ${written(value)}) / (${written(den)} + 2) = ` +
        written((num + 2 * value) / (den + 2)),
    ];
    num = num / 2 + value;
    den = den / 2 + 1;
    return row;
  });
}

// A table that is told a reader's facts: what stands under a thing is looked up, the table
// keeps a share, some of what was found goes, and the value comes.
export function facts(values, { small, most, nothing, corner, tint }) {
  const pairs = pairsOf(values.facts, small).slice(0, most);
  if (!pairs.length) return `<p>${escape(nothing)}</p>`;
  const things = [...new Set(pairs.map(([thing]) => thing))];
  const rows = [...new Set(pairs.map(([, value]) => value))];
  const table = corrected(pairs, things, rows, values);
  const head = [corner, ...things].map((name) => `<th>${escape(name)}</th>`).join("");
  const numbers = (row) => row.map((number) => cell(number, tint)).join("");
  const body = rows.map((value, at) => `<tr><td>${escape(value)}</td>${numbers(table[at])}</tr>`);
  return (
    `<table class="table"><thead><tr>${head}</tr></thead>` +
    `<tbody>${body.join("")}</tbody></table>`
  );
}

// A number, on the more ink the larger it is.
function cell(number, tint) {
  const strength = written(0.6 * Math.min(1, Math.abs(number)));
  const style = `padding-left: 0.5rem; background: rgba(${tint}, ${strength})`;
  return `<td style="${style}">${written(number)}</td>`;
}

// The first and the last word of each sentence that has two, small ones apart.
function pairsOf(text, small) {
  const words = (part) =>
    (part.match(/[a-zà-ÿ0-9]+/g) ?? []).filter((word) => !small.includes(word));
  const sentences = text.toLowerCase().split(/[.,;]/).map(words);
  return sentences.filter((each) => each.length > 1).map((each) => [each[0], each.at(-1)]);
}

function corrected(pairs, things, rows, { keep, rate }) {
  let table = rows.map(() => things.map(() => 0));
  for (const [thing, value] of pairs) {
    const at = things.indexOf(thing);
    table = table.map((row) => row.map((x, n) => x * keep - (n === at ? rate * x : 0)));
    table[rows.indexOf(value)][at] += 1;
  }
  return table;
}

// The tables of a little story, after each sentence, for a setting of three switches. The
// names of all settings come with the data.
export function switches(values, data) {
  const setting = [...values.decay, values.removal, values.rate].join();
  const heading = data.headings[data.settings.findIndex((each) => each.join() === setting)];
  const tables = storyTables(values, data);
  const column = (text, more = "") => `<th${more} scope="col">${text}</th>`;
  const sentences = data.story.map(
    ({ says }) => `<th colspan="2" scope="colgroup">${escape(says)}</th>`,
  );
  const things = data.story.flatMap(() => data.things.map((name) => column(name)));
  const body = data.colours.map(
    (colour, row) =>
      `<tr><th scope="row">${colour}</th>` +
      tables.flatMap((table) => table[row].map((number) => cell(number, data.tint))).join("") +
      "</tr>",
  );
  return (
    `<p><strong>${escape(heading)}</strong></p>` +
    '<div class="live-wide-table" tabindex="0" role="region" aria-label="The tables">' +
    `<table class="table"><thead><tr>${column(data.corner, ' rowspan="2"')}` +
    `${sentences.join("")}</tr><tr>${things.join("")}</tr></thead>` +
    `<tbody>${body.join("")}</tbody></table></div>`
  );
}

// [[a number for each thing] for each colour] after each sentence.
function storyTables({ decay: [kind, by], removal, rate }, { story, constant, colours }) {
  let table = colours.map(() => [0, 0]);
  return story.map(({ key = [0, 0], colour, fades = [1, [1, 1]], rates = 1, spare = [1, 1] }) => {
    const [all, each] = kind === "constant" ? constant : fades;
    const left = kind === "none" ? [1, 1] : by === "each key" ? each : [all, all];
    const most = rate === "none" ? 1 : rates;
    const share = [0, 1].map((n) => most * (rate === "each key" ? spare[n] : 1));
    table = table.map((numbers, row) => {
      const stands = numbers.map((number, n) => number * left[n]);
      const there = removal ? stands[0] * key[0] + stands[1] * key[1] : 0;
      const comes = (colour === row ? 1 : 0) - there;
      return stands.map((number, n) => number + comes * share[n] * key[n]);
    });
    return table;
  });
}

// Tokens merged in an order of brackets, as a tree whose boxes hold the sums of a stretch:
// num and den on a shared scale, and the length. Every token is faded once for each later one.
export function brackets({ order, own, key }, data) {
  const boxes = bracketTree(order || own, key, data);
  if (!boxes) return `<p>${data.words.wrong}</p>`;
  const [wide, high, halfWide, halfHigh, , line] = data.sizes;
  const root = boxes.at(-1);
  const top = root.height * high + halfHigh + 2;
  const across = (column) => (column + 0.5) * wide;
  const up = (height) => top - height * high;
  const text = (x, y, said) => `<text x="${written(x)}" y="${written(y)}">${said}</text>`;
  const shape = (box) => {
    const [x, y] = [across(box.column), up(box.height)];
    const paths = box.parts.map((part) => {
      const start = `M${written(across(part.column))} ${written(up(part.height) - halfHigh)}`;
      if (part === box.parts.at(-1)) return `${start}V${written(y + halfHigh)}`;
      return `${start}V${written(y)}H${written(x - halfWide)}`;
    });
    const path = `<path d="${paths.join("")}" fill="none" stroke="${data.accent}"/>`;
    return (
      `${paths.length ? path : ""}<rect x="${written(x - halfWide)}" y="${written(y - halfHigh)}" ` +
      `width="${2 * halfWide}" height="${2 * halfHigh}" rx="4" fill="none" ` +
      `stroke="${data.accent}" stroke-width="1.5"/>` +
      boxLines(box)
        .map((said, n) => text(x, y + (n - 1.5) * line + 4, said))
        .join("")
    );
  };
  const names = [...data.tokens].map((name, n) => text(across(n), top + halfHigh + 16, name));
  const [num, den, scale] = boxLines(root);
  const found = { num, den, log_scale: scale, average: averageOf(root) };
  const straight = averageOf(bracketTree(data.straight, key, data).at(-1));
  const stretches = boxes.filter((box) => box.parts.length);
  const said = stretches.map((box) => `${box.letters}: ${boxLines(box).join(", ")}`).join("; ");
  return (
    `<p><strong>${filled(data.words.end, found)}</strong></p>` +
    `<svg role="img" aria-label="${filled(data.words.alt, { stretches: said })}" ` +
    `viewBox="0 0 ${wide * data.tokens.length} ${written(top + halfHigh + 22)}" ` +
    'style="display: block; width: 100%; max-width: 30rem; ' +
    'margin: 0.75rem auto; fill: currentColor; font-size: 11px; text-anchor: middle">' +
    `${boxes.map(shape).join("")}${names.join("")}</svg>` +
    `<p>${filled(data.words.key, { straight })}</p>`
  );
}

const boxLines = ({ sums, letters }) => [...sums, letters.length].map(written);
const averageOf = ({ sums: [num, den] }) => (num / den).toFixed(4);

// The boxes of an order, parts before the whole; null for a text that is none.
function bracketTree(text, key, { tokens, values, loud, sizes: [, , , , aboveOlder] }) {
  const order = parsedBrackets(text, tokens);
  if (!order) return null;
  const boxes = [];
  const place = (part) => {
    const found = Array.isArray(part) ? together(part.map(place), aboveOlder) : leaf(part);
    boxes.push(found);
    return found;
  };
  const leaf = (letter) => {
    const column = tokens.indexOf(letter);
    const sums = [values[column], 1, column === loud ? key : 0];
    return { letters: letter, sums, parts: [], height: 0, column };
  };
  place(order);
  return boxes;
}

function together(parts, aboveOlder) {
  const letters = parts.map((part) => part.letters).join("");
  let end = 0;
  const scales = parts.map((part) => {
    end += part.letters.length;
    return part.sums[2] - (letters.length - end) * Math.LN2;
  });
  const top = Math.max(...scales);
  const total = (n) =>
    parts.reduce((sum, part, at) => sum + Math.exp(scales[at] - top) * part.sums[n], 0);
  const last = parts.at(-1);
  const older = parts.slice(0, -1).map((part) => part.height + aboveOlder);
  const height = Math.max(last.height + 1, ...older);
  return { letters, sums: [total(0), total(1), top], parts, height, column: last.column };
}

function parsedBrackets(text, tokens) {
  const groups = [[]];
  let seen = "";
  for (const sign of text.replace(/[ ,]/g, "")) {
    if (sign === "(") groups.push([]);
    else if (sign === ")" && groups.length > 1 && groups.at(-1).length) {
      const group = groups.pop();
      groups.at(-1).push(group.length > 1 ? group : group[0]);
    } else {
      groups.at(-1).push(sign);
      seen += sign;
    }
  }
  if (seen !== tokens || groups.length > 1) return null;
  return groups[0].length > 1 ? groups[0] : groups[0][0];
}

// A cell over the words of a sentence: kept by the forget gate, added to by the input gate, and
// shown by the output gate.
export function gates({ sentence, verdicts, write, keep, forget, chatter, output }, data) {
  const wordsOf = (text) => text.match(/[^\s.,;:!?]+/g) ?? [];
  const named = wordsOf(verdicts.toLowerCase());
  const words = wordsOf(sentence).slice(0, data.most);
  if (!words.length) return `<p>${escape(data.words.nothing)}</p>`;
  let [cell, verdict, hidden] = [0, 0, 0];
  const bar = (number) => {
    const wide = written(Math.min(100, (100 * number) / data.full));
    return (
      `<td style="width: 30%">${written(number)}<span style="display: block; ` +
      `height: 0.4rem; width: ${wide}%; background: ${data.colour}"></span></td>`
    );
  };
  const rows = words.map((word) => {
    const counts = named.includes(word.toLowerCase());
    const kept = counts ? keep : forget;
    const [added, candidate] = counts ? [write, data.verdict] : [chatter, data.rest];
    cell = kept * cell + added * candidate;
    verdict = kept * verdict + (counts ? added * data.verdict : 0);
    hidden = output * Math.tanh(cell);
    return (
      `<tr><th scope="row">${escape(word)}</th>` +
      `<td>${written(added)} · ${written(candidate)}</td>${bar(cell)}${bar(hidden)}</tr>`
    );
  });
  const ends = { cell, verdict, chatter: cell - verdict, hidden };
  for (const name of Object.keys(ends)) ends[name] = written(ends[name]);
  return (
    `<p><strong>${filled(data.words.end, ends)}</strong></p>` +
    '<table class="table" style="width: 100%"><thead><tr>' +
    data.header.map((name) => `<th scope="col">${name}</th>`).join("") +
    `</tr></thead><tbody>${rows.join("")}</tbody></table>`
  );
}

// The letters of a text that were foretold by what followed its longest ending when that
// was there before.
export function endings({ text }, { nothing, words, most, tint }) {
  const letters = [...text];
  const lengths = letters.map((letter, place) => {
    const [said, length] = saidAfter(letters.slice(0, place));
    return said === letter ? length : 0;
  });
  const spans = letters.map((letter, place) => {
    const strength = (Math.min(8, lengths[place]) * 9) / 100;
    return `<span style="background: rgba(${tint}, ${strength})">${shown(letter)}</span>`;
  });
  const right = lengths.filter((length) => length > 0).length;
  const on = goesOn(letters, most).replaceAll("\n", "⏎");
  const found = letters.length ? filled(words, { count: letters.length, right, on }) : nothing;
  const said = escape(found);
  return (
    `<div role="img" aria-label="${said}"><p class="live-words" aria-hidden="true">` +
    `${spans.join("")}</p></div><p>${said}</p>`
  );
}

// [what followed the longest ending of the letters when it was last there, its length]
function saidAfter(letters) {
  for (let length = letters.length - 1; length > 0; length -= 1) {
    for (let at = letters.length - 1 - length; at >= 0; at -= 1) {
      let same = 0;
      while (same < length && letters[at + same] === letters[letters.length - length + same])
        same += 1;
      if (same === length) return [letters[at + length], length];
    }
  }
  return ["", 0];
}

function goesOn(letters, most) {
  const written = [];
  while (written.length < most) {
    const [said] = saidAfter([...letters, ...written]);
    if (!said) break;
    written.push(said);
  }
  return written.join("");
}

// The characters of a text, tinted by their weights in one channel's average at the end.
export function listening(values, data) {
  const weights = heard(values, data);
  const most = Math.max(...weights);
  const said = filled(data.words, { share: percent(weights.at(-1) ?? 0) });
  const spans = [...characters(values.text)].map(({ character, last }) => {
    const strength = Math.round((100 * weights[last]) / most);
    return `<span style="--strength: ${strength}%">${shown(character)}</span>`;
  });
  return (
    `<div role="img" aria-label="${escape(said)}"><p class="live-words" aria-hidden="true">` +
    `${spans.join("")}</p></div><p>${escape(said)}</p>`
  );
}

// The weights of all bytes of a text. A key is the sum of two numbers: one for its byte,
// and one for the byte before it.
export function heard({ text, half_life: halfLife, bonus }, { now, before }) {
  const bytes = [...new TextEncoder().encode(text)];
  if (!bytes.length) return [];
  const keys = bytes.map((byte, at) => [now[byte] + (at ? before[bytes[at - 1]] : 0)]);
  return [...weightsOf(keys, [Math.LN2 / halfLife], [bonus])];
}

// The likeliest next bytes as bars: how often a sampler draws each of them.
export function sampling({ temperature, top_p }, { logits, names, words }) {
  const drawn = chances({ temperature, top_p }, logits);
  const shares = names.map(([token]) => drawn[token]);
  const others = 1 - shares.reduce((sum, share) => sum + share, 0);
  const count = drawn.filter((share) => share > 0).length;
  const bars = names.map(([, name], place) => {
    const share = shares[place];
    return (
      `<li><span>${shown(name)}</span><span aria-hidden="true">` +
      `<i style="width: ${(100 * share).toFixed(1)}%"></i></span><span>${share.toFixed(2)}</span></li>`
    );
  });
  const said = filled(words, { count, others: percent(Math.max(0, others)) });
  return `<p>${escape(said)}</p><ul class="live-bars">${bars.join("")}</ul>`;
}

// The probability with which each token is drawn.
export function chances({ temperature, top_p: topP }, logits) {
  const found = new Array(logits.length).fill(0);
  const kept = distribution(logits, temperature, topP).filter((entry) => entry.kept);
  const total = kept.reduce((sum, { probability }) => sum + probability, 0);
  for (const { token, probability } of kept) found[token] = probability / total;
  return found;
}

// A character may be several bytes; it is tinted by the last of them.
function* characters(text) {
  let read = 0;
  for (const character of text) {
    read += new TextEncoder().encode(character).length;
    yield { character, last: read - 1 };
  }
}

const percent = (share) => `${Math.round(100 * share)}%`;
const shown = (text) => escape(text.replaceAll("\n", "⏎")).replaceAll(" ", "&nbsp;<wbr>");
