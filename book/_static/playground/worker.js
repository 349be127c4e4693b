// The model, away from the page's own thread, so that the page never freezes. It knows
// two questions: { load: address, again } and { token, state }; it alone has the weights.

import { download } from "./download.js";
import { readingTime } from "./multiply.js";
import * as rwkv4 from "./rwkv.js";
import * as rwkv7 from "./rwkv7.js";
import { load } from "./weights.js";

let params, program;

onmessage = async ({ data }) => {
  try {
    postMessage(data.load ? await fetchModel(data) : answer(data));
  } catch (error) {
    postMessage({ error: error.message });
  }
};

function answer({ token, state }) {
  const start = performance.now();
  const result = program.step(token, state, params);
  return { ...result, milliseconds: performance.now() - start };
}

async function fetchModel({ load: address, again }) {
  params = load(await download(address, again, onProgress));
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

const onProgress = (received, total) => postMessage({ received, total });

// What the page's pictures need to know of a layer.
function describe(name) {
  const bonus = params[name + "bonus"], rates = params[name + "log_decay_rate"];
  if (program === rwkv7) return { heads: bonus.shape[0], size: bonus.shape[1] };
  return { decayRate: rates.map(Math.exp), bonus };
}
