// What the page shows of an RWKV-7: the table of every head, what the newest token did
// to one of them, and what the state costs.

import { fullColour, paint, rootMeanSquare } from "./draw.js";
import { listeningInTables } from "./listening.js";
import { tokenName } from "./text.js";

export const heard =
  "Mean over the heads of each layer; a token that is subtracted counts like one that " +
  "is added.";

// parts: a layer's, after each token. The share of each token in what the layer hears.
export const listen = (parts, { size }) => listeningInTables(parts, size);

// The numbers in a state, and where they come from.
export function stateSize({ layers, channels }) {
  const [{ heads, size }] = layers;
  return {
    numbers: layers.length * (heads * size * size + 2 * channels),
    words:
      `(${heads} tables of ${size} × ${size} + 2 arrays of ${channels} channels) × ` +
      `${layers.length} layers`,
  };
}

// What a token did to the table of a head, as (N values, N keys) row by row: what was
// there had decayed, something was erased from it and something written into it.
export function change(tables, { key, value, removed, rate, found }, head, size) {
  const from = head * size;
  const outer = (column, row) =>
    Float32Array.from({ length: size * size }, (_, at) =>
      column[from + Math.floor(at / size)] * row(from + (at % size)));
  const now = tables.slice(from * size, (from + size) * size);
  const erased = outer(found, (c) => removed[c] * rate[c]);
  const written = outer(value, (c) => key[c]);
  const decayed = now.map((v, at) => v - written[at] + erased[at]);
  return { decayed, erased, written, now };
}

const CHANGES = [
  ["decayed", "", "the table before, decayed"],
  ["erased", "− ", "what was erased"],
  ["written", "+ ", "what was written"],
  ["now", "= ", "the table now"],
];

// A heat map a head and layer in `box`, to choose one from, and below them the change
// of the chosen one; `draw` shows the last of these nodes of a text.
export function pictures(box, { layers }, redraw) {
  const heads = layers.flatMap(({ heads, size }, layer) => {
    const row = document.createElement("fieldset");
    row.className = "pg-heads";
    row.innerHTML = `<legend>Layer ${layer}</legend>`;
    box.append(row);
    return Array.from({ length: heads }, (_, head) => {
      const option = document.createElement("label");
      option.innerHTML = `<canvas></canvas><span><input type="radio" name="pg-head">
        <span class="pg-unseen">layer ${layer}, </span>head ${head}</span>
        <span class="pg-scale" aria-hidden="true"></span>`;
      const [canvas, input] = [option.firstChild, option.querySelector("input")];
      const scale = option.querySelector(".pg-scale");
      Object.assign(canvas, { width: size, height: size });
      input.checked = layer === 0 && head === 0;
      input.addEventListener("change", redraw);
      row.append(option);
      return { layer, head, size, canvas, input, scale, usual: 0 };
    });
  });
  const shown = document.createElement("div");
  shown.className = "pg-whole";
  shown.innerHTML = `
    <p class="pg-title"></p>
    <div class="pg-change">${CHANGES.map(([, sign, words]) => `
      <figure><canvas role="img"></canvas>
        <figcaption>${sign}${words}</figcaption></figure>`).join("")}</div>
    <p class="pg-note"></p>`;
  box.append(shown);
  return {
    draw(nodes, colours) {
      const node = nodes.at(-1);
      for (const each of heads) {
        const [, tables] = node.state[each.layer], { head, size } = each;
        const table = tables.subarray(head * size * size, (head + 1) * size * size);
        each.usual = Math.max(each.usual, rootMeanSquare(table));
        heatMap(each.canvas, table, each.usual, colours);
        each.scale.textContent = fullColour(each.usual);
      }
      drawChange(shown, heads.find(({ input }) => input.checked), node, colours);
    },
  };
}

function drawChange(shown, { layer, head, size, usual }, { state, parts, token }, colours) {
  const tables = change(state[layer][1], parts[layer], head, size);
  const [title, , note] = shown.children;
  shown.querySelectorAll("canvas").forEach((canvas, which) => {
    Object.assign(canvas, { width: size, height: size });
    const [name, , words] = CHANGES[which];
    canvas.setAttribute("aria-label", `Head ${head} of layer ${layer}: ${words}`);
    heatMap(canvas, tables[name], usual, colours);
  });
  const of = (name) =>
    `${Math.round((100 * rootMeanSquare(tables[name])) / rootMeanSquare(tables.now))} %`;
  title.textContent = `What “${tokenName(token)}” did to head ${head} of layer ${layer}`;
  note.textContent =
    `It erased ${of("erased")} and wrote ${of("written")}, compared with the table now ` +
    "(root mean squares). The four pictures share one scale of colour, full at " +
    `${fullColour(usual)}.`;
}

function heatMap(canvas, table, usual, colours) {
  const { width, height } = canvas, context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const rows = Array.from({ length: height }, (_, row) =>
    table.subarray(row * width, (row + 1) * width));
  paint(image, 0, 0, rows, usual, colours);
  context.putImageData(image, 0, 0);
}
