// RWKV-4 with all tokens at once: a layer sees the whole text before the next one does,
// and its averages are found from all pairs. The parts are those of rwkv.js, which takes
// one token and a state.

import { multiply } from "../playground/multiply.js";
import { add, channelMix, embed, layerNorm, project, sigmoid, times } from "../playground/rwkv.js";

// A pause after each layer, so that a page can do something else; then the logits (T,V).
export function* atOnce(tokens, params) {
  const layers = Object.keys(params).filter((name) => name.endsWith(".bonus")).length;
  let all = tokens.map((token) => layerNorm(embed(token, params), "norm_in", params));
  for (let layer = 0; layer < layers; layer++) {
    const block = `blocks.${layer}.`;
    all = added(all, timeMix(all, block, params));
    all = added(all, mixedChannels(all, block, params));
    yield;
  }
  return all.map((x) => multiply(params["head.weight"], layerNorm(x, "norm_out", params)));
}

const added = (all, more) => all.map((x, t) => add(x, more[t]));

// What stands at the previous place; before the first, nothing.
const previous = (all) => [new Float32Array(all[0].length), ...all.slice(0, -1)];

function timeMix(all, block, params) {
  const name = block + "time_mix.";
  const now = all.map((x) => layerNorm(x, block + "norm_time", params));
  const before = previous(now);
  const part = (which) => now.map((x, t) => project(which, x, before[t], name, params));
  const decayRate = params[name + "log_decay_rate"].map(Math.exp);
  const averages = wkv(decayRate, params[name + "bonus"], part("key"), part("value"));
  return part("receptance").map((receptance, t) =>
    multiply(params[name + "output.weight"], times(receptance.map(sigmoid), averages[t])));
}

// In channel c, at place t, the mean of all values up to there, value i weighing
// exp(key_i - (t - 1 - i) decay_rate), and the newest exp(bonus + key_t).
function wkv(decayRate, bonus, key, value) {
  return key.map((_, t) =>
    bonus.map((u, c) => {
      const exponent = (i) => key[i][c] + (i === t ? u : -(t - 1 - i) * decayRate[c]);
      let top = -Infinity, num = 0, den = 0;
      for (let i = 0; i <= t; i++) top = Math.max(top, exponent(i));
      for (let i = 0; i <= t; i++) {
        const weight = Math.exp(exponent(i) - top);
        num += weight * value[i][c];
        den += weight;
      }
      return num / den;
    }));
}

function mixedChannels(all, block, params) {
  const now = all.map((x) => layerNorm(x, block + "norm_channel", params));
  const before = previous(now);
  return now.map((x, t) => channelMix(x, before[t], block + "channel_mix.", params));
}
