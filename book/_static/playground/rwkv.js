// RWKV-4 entire, function by function as in minimal.py: a token and a state in, a score
// for every next token and a new state out. A state is L layers of five arrays (C,).
// Nothing here ever changes one: whoever keeps an old state still has it.

import { multiply } from "./multiply.js";

// The state before the first token: sums of 0 on a scale of exp(-Infinity).
export function initialState(params) {
  const layers = Object.keys(params).filter((name) => name.endsWith(".bonus"));
  const all = (x) => new Float32Array(params["norm_out.weight"].length).fill(x);
  return layers.map(() => [all(0), all(0), all(0), all(-Infinity), all(0)]);
}

// Read one token: logits of the next one (V,), a new state, and every layer's key (C,).
export function step(token, state, params) {
  const parts = [];
  let x = layerNorm(embed(token, params), "norm_in", params);
  const newState = state.map(([xTime, num, den, logScale, xChannel], layer) => {
    const block = `blocks.${layer}.`;
    const nowTime = layerNorm(x, block + "norm_time", params);
    const read = timeMix(nowTime, xTime, [num, den, logScale], block + "time_mix.", params);
    x = add(x, read.out);
    const nowChannel = layerNorm(x, block + "norm_channel", params);
    x = add(x, channelMix(nowChannel, xChannel, block + "channel_mix.", params));
    parts.push({ key: read.key });
    return [nowTime, ...read.sums, nowChannel];
  });
  const logits = multiply(params["head.weight"], layerNorm(x, "norm_out", params));
  return { logits, state: newState, parts };
}

export function embed(token, params) {
  const width = params["norm_out.weight"].length;
  const row = params["embedding.weight"].subarray(token * width, (token + 1) * width);
  if (row.length < width) throw new RangeError(`there is no token ${token}`);
  return row;
}

// Where tokens meet: an average of all values, let through by the receptance.
function timeMix(x, xPrev, oldSums, name, params) {
  const receptance = project("receptance", x, xPrev, name, params).map(sigmoid);
  const key = project("key", x, xPrev, name, params);
  const value = project("value", x, xPrev, name, params);
  const decayRate = params[name + "log_decay_rate"].map(Math.exp);
  const { average, sums } = wkv(decayRate, params[name + "bonus"], key, value, oldSums);
  const out = multiply(params[name + "output.weight"], times(receptance, average));
  return { out, sums, key };
}

// The average with this token in it, and the sums that the next token will find.
function wkv(decayRate, bonus, key, value, [num, den, logScale]) {
  const average = new Float32Array(key.length);
  const sums = [num.slice(), den.slice(), logScale.slice()];
  key.forEach((k, c) => {
    const [numNow, denNow] = merge(num[c], den[c], logScale[c], value[c], bonus[c] + k);
    average[c] = numNow / denNow;
    const next = merge(num[c], den[c], logScale[c] - decayRate[c], value[c], k);
    next.forEach((sum, which) => (sums[which][c] = sum));
  });
  return { average, sums };
}

// Add a value of weight exp(key) to (num, den) exp(logScale): no exponent is positive.
function merge(num, den, logScale, value, key) {
  const top = Math.max(logScale, key);
  const old = Math.exp(logScale - top), now = Math.exp(key - top);
  return [old * num + now * value, old * den + now, top];
}

// Where channels meet: F squared ReLUs, let through by their own receptance.
export function channelMix(x, xPrev, name, params) {
  const receptance = project("receptance", x, xPrev, name, params).map(sigmoid);
  const hidden = project("key", x, xPrev, name, params).map((h) => Math.max(h, 0) ** 2);
  return times(receptance, multiply(params[name + "value.weight"], hidden));
}

// One matrix of a layer, on its own mixture of this token and the one before.
export function project(part, x, xPrev, name, params) {
  const mixed = tokenShift(x, xPrev, params[`${name}mix_${part}`]);
  return multiply(params[`${name}${part}.weight`], mixed);
}

// Channel by channel, `mix` of this token and 1 - mix of the one before.
function tokenShift(x, xPrev, mix) {
  return x.map((now, c) => now * mix[c] + xPrev[c] * (1 - mix[c]));
}

// Mean 0, variance 1, then a weight and a bias; the 1e-5 belongs to the model.
export const layerNorm = (x, name, params) => scale(standard(x, 1e-5), name, params);
export const scale = (x, name, params) =>
  add(times(x, params[name + ".weight"]), params[name + ".bias"]);
export function standard(x, epsilon) {
  const mean = x.reduce((sum, v) => sum + v, 0) / x.length;
  const variance = x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length;
  return x.map((v) => (v - mean) / Math.sqrt(variance + epsilon));
}

export const sigmoid = (x) => 0.5 + 0.5 * Math.tanh(0.5 * x);
export const add = (x, y) => x.map((v, c) => v + y[c]);
export const times = (x, y) => x.map((v, c) => v * y[c]);
