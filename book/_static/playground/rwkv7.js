// RWKV-7 entire, function by function as in minimal.py: before a token writes into its
// head's table, it takes out what stands there under a key. A state is L layers of
// xTime (C,), tables (H heads, N values, N keys) and xChannel (C,). Nothing changes one.

import { combine, multiply } from "./multiply.js";
import { add, embed, layerNorm, scale, sigmoid, standard, times } from "./rwkv.js";

// The state before the first token: zeros, or the tables that a file has to begin with.
export function initialState(params) {
  const layers = Object.keys(params).filter((name) => name.endsWith(".bonus"));
  const [heads, size] = params["blocks.0.time_mix.bonus"].shape, width = heads * size;
  return layers.map((_, layer) => {
    const first = params[`blocks.${layer}.time_mix.first_state`] ?? width * size;
    return [width, first, width].map((part) => new Float32Array(part));
  });
}

// Read one token: logits of the next one (V,), a new state, and for every layer what it
// asked its tables for, took out of them and wrote into them: parts (C,), by name.
export function step(token, state, params) {
  const parts = [];
  let x = layerNorm(embed(token, params), "norm_in", params);
  const newState = state.map(([xTime, tables, xChannel], layer) => {
    const block = `blocks.${layer}.`, first = parts[0]?.value;
    const nowTime = layerNorm(x, block + "norm_time", params);
    const read = timeMix(nowTime, xTime, tables, first, block + "time_mix.", params);
    x = add(x, read.out);
    const nowChannel = layerNorm(x, block + "norm_channel", params);
    x = add(x, channelMix(nowChannel, xChannel, block + "channel_mix.", params));
    parts.push(read.parts);
    return [nowTime, read.tables, nowChannel];
  });
  const logits = multiply(params["head.weight"], layerNorm(x, "norm_out", params));
  return { logits, state: newState, parts };
}

// Where tokens meet: each head corrects its table, then asks it. firstValue: layer 0's.
function timeMix(x, xPrev, oldTables, firstValue, name, params) {
  const moved = (part) => shifted(part, x, xPrev, name, params);
  const project = (part) => multiply(params[`${name}${part}.weight`], moved(part));
  const low = (part) => lowRank(part, moved(part), name, params);
  const bonus = params[name + "bonus"], [, size] = bonus.shape;
  const receptance = project("receptance"), plainKey = project("key");
  const decay = low("decay").map((d) => Math.exp(-sigmoid(d) / Math.sqrt(Math.E)));
  const rate = low("rate").map(sigmoid), inKey = params[name + "rate_in_key"];
  const gate = combine(moved("gate"), params[name + "gate_down"]).map(sigmoid);
  let value = project("value");
  if (firstValue) value = towards(value, firstValue, low("value").map(sigmoid));
  const removed = eachHead(times(plainKey, params[name + "removal_scale"]), size, unit);
  const key = plainKey.map((k, c) => k * (1 + (rate[c] - 1) * inKey[c]));
  const { tables, found } = correct(oldTables, decay, key, value, removed, rate, size);
  const answer = eachHead(ask(tables, receptance, size), size, (a) => standard(a, 64e-5));
  const heard = times(eachHead(times(times(receptance, key), bonus), size, sum), value);
  const read = add(scale(answer, name + "norm_heads", params), heard);
  const gated = times(read, combine(gate, params[name + "gate_up"]));
  const out = multiply(params[name + "output.weight"], gated);
  return { out, tables, parts: { receptance, decay, key, value, removed, rate, found } };
}

// The tables decay, what is under the unit key `removed` goes at `rate`, value times key
// comes. Also gives what stood under that key before, in each row of a table.
function correct(oldTables, decay, key, value, removed, rate, size) {
  const tables = oldTables.slice(), found = ask(oldTables, removed, size);
  for (let at = 0; at < tables.length; at++) {
    const row = Math.floor(at / size), c = row - (row % size) + (at % size);
    const kept = tables[at] * decay[c] - found[row] * removed[c] * rate[c];
    tables[at] = kept + value[row] * key[c];
  }
  return { tables, found };
}

// Each head's table times its vector: (H, N values, N keys), (C,) -> (C,).
const ask = (tables, x, size) => eachHead(x, size, (head, at) =>
  multiply(tables.subarray(at * size, (at + size) * size), head));

// (C,) -> (C,) through few numbers: a learned bias and what this token adds.
function lowRank(part, x, name, params) {
  const down = combine(x, params[`${name}${part}_down`]);
  const low = part === "decay" ? down.map(Math.tanh) : down;
  return add(params[`${name}${part}_bias`], combine(low, params[`${name}${part}_up`]));
}

// Where channels meet: F squared ReLUs, let through as they are.
function channelMix(x, xPrev, name, params) {
  const mixed = shifted("key", x, xPrev, name, params);
  const hidden = multiply(params[name + "key.weight"], mixed);
  return multiply(params[name + "value.weight"], hidden.map((h) => Math.max(h, 0) ** 2));
}

// This token, moved by a share towards the previous one for one part.
const shifted = (part, x, xPrev, name, params) =>
  towards(x, xPrev, params[`${name}shift_${part}`]);
const towards = (x, y, share) => x.map((v, c) => v + (y[c] - v) * share[c]);

// A function of each head's N channels, and of the place of the first of them.
function eachHead(x, size, change) {
  const out = new Float32Array(x.length);
  for (let at = 0; at < x.length; at += size) {
    out.set(change(x.subarray(at, at + size), at), at);
  }
  return out;
}

const sum = (x) => Array(x.length).fill(x.reduce((all, v) => all + v, 0)); // N times
function unit(x) {
  const length = Math.max(Math.hypot(...x), 1e-12);
  return x.map((v) => v / length);
}
