// The model, away from the page's own thread, so that the page never freezes. It knows
// two questions: { load: address } and { token, state }; it alone has the weights.

import { readingTime } from "./multiply.js";
import * as rwkv4 from "./rwkv.js";
import * as rwkv7 from "./rwkv7.js";
import { load } from "./weights.js";

let params, program;

onmessage = async ({ data }) => {
  try {
    postMessage(data.load ? await fetchModel(data.load) : answer(data));
  } catch (error) {
    postMessage({ error: error.message });
  }
};

function answer({ token, state }) {
  const start = performance.now();
  const result = program.step(token, state, params);
  return { ...result, milliseconds: performance.now() - start };
}

async function fetchModel(address) {
  params = load(await download(address));
  program = "blocks.0.time_mix.removal_scale" in params ? rwkv7 : rwkv4;
  const state = program.initialState(params);
  return {
    state,
    channels: params["norm_out.weight"].length,
    parameters: Object.values(params).reduce((sum, array) => sum + array.length, 0),
    readingTime: readingTime(params),
    layers: state.map((_, layer) => describe(`blocks.${layer}.time_mix.`)),
  };
}

// What the page's pictures need to know of a layer.
function describe(name) {
  const bonus = params[name + "bonus"], rates = params[name + "log_decay_rate"];
  if (program === rwkv7) return { heads: bonus.shape[0], size: bonus.shape[1] };
  return { decayRate: rates.map(Math.exp), bonus };
}

// A file as an ArrayBuffer; says on the way how much of it has come.
async function download(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const total = Number(response.headers.get("Content-Length"));
  const parts = [];
  let received = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts).arrayBuffer();
    parts.push(value);
    received += value.length;
    postMessage({ received, total });
  }
}
