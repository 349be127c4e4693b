// A table that fills while a sentence is read: each letter asks for itself, and is then
// written under the previous one. show/filling.py draws the same.

import { escape, filled as filledIn, written } from "./words.js";

export function filling({ sentence, read, keep }, data) {
  const letters = lettersOf(sentence, data);
  const count = Math.min(read, letters.length);
  const { columns, places, table, answer } = filled(letters, count, keep);
  const { answer: stored } = filled(letters, count, 1);
  const names = columns.map((letter) => data.names[letter] ?? letter);
  const heard = [...names.keys()]
    .filter((n) => stored[n])
    .sort((a, b) => answer[b] - answer[a])
    .map((n) => [names[n], stored[n], answer[n]]);
  const newest = places.slice(-2).map((place) => names[place]);
  const said = `<p><strong>${escape(asked(newest.at(-1), heard, letters, data))}</strong></p>`;
  if (!letters.length) return said;
  const limits = { read: letters.length, most: data.most, columns: data.columns };
  const long = letters.length < [...sentence].length;
  const note = long ? `<p class="live-note">${filledIn(data.words.long, limits)}</p>` : "";
  const then = count ? `<p>${escape(writes(newest, keep, data))}</p>` : "";
  return (
    `${said}${then}${note}` +
    `<p class="live-words" aria-hidden="true">${spans(letters, count, keep, data)}</p>` +
    `<div style="display: flex; flex-wrap: wrap; gap: 0.75rem 2rem; margin-top: 0.75rem">` +
    `<div style="flex: 2 1 17rem; min-width: 0">${drawing(names, places, table, data)}</div>` +
    `<div style="flex: 1 1 12rem">${answers(heard, data)}</div></div>`
  );
}

// The beginning of a sentence that is read: so long, and with so many columns.
function lettersOf(sentence, { most, columns }) {
  const letters = [...sentence].slice(0, most);
  const tooMany = letters.findIndex((_, n) => new Set(letters.slice(0, n + 1)).size > columns);
  return tooMany < 0 ? letters : letters.slice(0, tooMany);
}

// The table, rows of values by keys, and the answer to the last of `count` letters.
export function filled(letters, count, keep) {
  const columns = [...new Set(letters)];
  const places = letters.slice(0, count).map((letter) => columns.indexOf(letter));
  let table = columns.map(() => columns.map(() => 0));
  let answer = columns.map(() => 0);
  places.forEach((now, t) => {
    const before = places[t - 1];
    answer = table.map((row, n) => row[now] + (n === now && before === now ? 1 : 0));
    table = table.map((row) => row.map((number) => number * keep));
    if (t) table[now][before] += 1;
  });
  return { columns, places, table, answer };
}

function asked(now, heard, letters, { words }) {
  if (now === undefined) return letters.length ? words.none : words.nothing;
  if (!heard.length) return filledIn(words.new, { now });
  const total = (part) => written(heard.reduce((sum, each) => sum + each[part], 0));
  const each = heard.map(([value, , out]) => `${value} ${written(out)}`).join(", ");
  return filledIn(words.asks, { now, count: total(1), sum: total(2), heard: each });
}

function writes(newest, keep, { words }) {
  if (newest.length < 2) return words.first;
  const [before, now] = newest;
  return filledIn(words.writes, { share: written(100 * keep), now, before });
}

// The letters, on the more ink the more is left of what they wrote.
function spans(letters, count, keep, { tint }) {
  let left = 1;
  const found = letters.map((letter, n) => [letter, n]).reverse();
  const drawn = found.map(([letter, n]) => {
    let style = "";
    if (n < count) {
      style = `background: rgba(${tint}, ${written(0.5 * left)});`;
      left *= keep;
    }
    if (n === count - 1) style += " outline: solid 2px";
    return `<span style="${style}">${escape(letter).replaceAll(" ", "&nbsp;<wbr>")}</span>`;
  });
  return drawn.reverse().join("");
}

// The table: the asked column and the newest number have frames.
function drawing(names, places, table, { sizes, words, tint, accent }) {
  const [wide, left, top, largest, room, full] = sizes;
  const cell = Math.min(largest, (wide - left - 2) / names.length);
  const side = cell * names.length;
  const line = `fill="none" stroke="currentColor"`;
  const drawn = [
    `<text x="${left}" y="10" style="text-anchor: start">${words.key}</text>` +
      `<text transform="translate(10 ${top}) rotate(-90)" ` +
      `style="text-anchor: end">${words.value}</text>`,
  ];
  names.map(escape).forEach((letter, n) => {
    drawn.push(text(left + (n + 0.5) * cell, top - 5, letter));
    drawn.push(text(left - 9, top + (n + 0.5) * cell + 4, letter));
  });
  table.forEach((numbers, row) =>
    numbers.forEach((number, column) => {
      if (!number) return;
      const ink = `${tint}, ${written(0.6 * Math.min(1, number / full))}`;
      const [x, y] = [left + column * cell, top + row * cell];
      drawn.push(box(x, y, cell, cell, `fill="rgba(${ink})"`));
      if (cell < room) return;
      drawn.push(text(x + cell / 2, y + cell / 2 + 4, written(number), "font-size: 10px"));
    }),
  );
  drawn.push(box(left, top, side, side, `${line} stroke-opacity="0.4"`));
  const [before, now] = [places.at(-2), places.at(-1)];
  if (now !== undefined) {
    const around = `fill="none" stroke="${accent}" stroke-width="2"`;
    drawn.push(box(left + now * cell, top, cell, side, around));
  }
  if (before !== undefined) {
    const [x, y] = [left + before * cell, top + now * cell];
    drawn.push(box(x, y, cell, cell, `${line} stroke-width="2"`));
  }
  return (
    `<svg role="img" aria-label="${escape(allNumbers(names, table, words))}" ` +
    `viewBox="0 0 ${wide} ${written(top + side + 2)}" style="display: block; ` +
    "width: 100%; max-width: min(26rem, 100%); fill: currentColor; " +
    `font-size: ${written(Math.min(11, cell))}px; text-anchor: middle">${drawn.join("")}</svg>` +
    (before === undefined ? "" : `<p class="live-note">${words.frames}</p>`)
  );
}

function text(x, y, said, style) {
  const styled = style ? ` style="${style}"` : "";
  return `<text x="${written(x)}" y="${written(y)}"${styled}>${said}</text>`;
}

function box(x, y, wide, high, drawn) {
  return (
    `<rect x="${written(x)}" y="${written(y)}" width="${written(wide)}" ` +
    `height="${written(high)}" ${drawn}/>`
  );
}

// The table in words: what stands under each key.
function allNumbers(names, table, words) {
  const columns = names.flatMap((key, column) => {
    const under = table.flatMap((row, n) =>
      row[column] ? [`${names[n]} ${written(row[column])}`] : [],
    );
    return under.length ? [filledIn(words.under, { key, all: under.join(", ") })] : [];
  });
  return columns.length ? filledIn(words.alt, { columns: columns.join("; ") }) : words.empty;
}

// What was written under the asked key, framed, and what comes out of it, filled.
function answers(heard, { header, accent }) {
  if (!heard.length) return "";
  const most = Math.max(...heard.map(([, stored]) => stored));
  const bar = (wide, full) =>
    `<span style="display: block; height: 0.5rem; width: ${written(100 * wide)}%; ` +
    `border: 1px solid ${accent}"><span style="display: block; height: 100%; ` +
    `width: ${written(100 * full)}%; background: ${accent}"></span></span>`;
  const rows = heard.map(
    ([value, stored, out]) =>
      `<tr><th scope="row">${escape(value)}</th><td>${written(stored)}</td>` +
      `<td style="width: 60%">${written(out)}${bar(stored / most, out / stored)}</td></tr>`,
  );
  return (
    '<table class="table" style="width: 100%"><thead><tr>' +
    header.map((each) => `<th scope="col">${each}</th>`).join("") +
    `</tr></thead><tbody>${rows.join("")}</tbody></table>`
  );
}

