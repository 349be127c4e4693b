// Records what the playground shows before it has fetched the model: the text that it
// writes of the prompt and the settings on the page, who is heard at its end, and the
// scores of the next letter. With node, in the book's folder:
//
//     node tools/site/playground_first.mjs > book/_static/playground/first.js

import { readFileSync } from "node:fs";

const here = new URL("../../book/_static/playground/", import.meta.url);
const [{ listening }, { initialState, step }, { chance, choose, distribution }, { load }] =
  await Promise.all(
    ["listening", "rwkv", "sample", "weights"].map((name) => import(`${here}${name}.js`)),
  );
const model = "../../src/rwkv_book/models/shakespeare.safetensors";
const file = readFileSync(new URL(model, import.meta.url));
const params = load(Uint8Array.from(file).buffer);

const page = readFileSync(new URL("page.html", here), "utf-8");
const value = (id) => Number(page.match(new RegExp(`id="pg-${id}"[^>]*value="([^"]+)"`))[1]);
const [temperature, topP, seed] = ["temperature", "top-p", "seed"].map(value);
const prompt = page.match(/<textarea[^>]*>\n?([^<]*)<\/textarea>/)[1];
const WRITTEN = 60;

const tokens = [...new TextEncoder().encode(prompt)];
const read = tokens.length;
const parts = [];
let state = initialState(params), logits;
for (let at = 0; at < read + WRITTEN; at++) {
  if (at >= read) {
    tokens.push(choose(distribution(logits, temperature, topP), chance(seed, at)));
  }
  const out = step(tokens[at], state, params);
  ({ state, logits } = out);
  parts.push(out.parts);
}
const short = (digits) => (x) => Number(x.toPrecision(digits));
const shares = state.map((_, layer) => {
  const part = (name) => params[`blocks.${layer}.time_mix.${name}`];
  const rates = part("log_decay_rate").map(Math.exp);
  const keys = parts.map((all) => all[layer].key);
  const weights = listening(keys, rates, part("bonus"));
  return Array.from(weights, short(2));
});
const first = {
  model: "RWKV-4",
  layers: state.length,
  channels: state[0][0].length,
  seed,
  read,
  tokens,
  shares,
  logits: Array.from(logits, short(3)),
};
const rows = Object.entries(first).map(([name, found]) =>
  `  ${name}: ${JSON.stringify(found).replaceAll("],[", "],\n    [")},`);
console.log(`// What stands on the page before the model has been fetched. Recorded by
// tools/site/playground_first.mjs: the first \`read\` tokens are the prompt; \`shares\` is
// how much of each token is heard at the end, for every layer.

export const FIRST = {
${rows.join("\n")}
};`);
