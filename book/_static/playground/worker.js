// The model, away from the page's own thread, so that the page never freezes. It knows
// two questions: { load: address } and { token, state }; it keeps the weights alone.

import { readingTime } from "./multiply.js";
import { initialState, step } from "./rwkv.js";
import { load } from "./weights.js";

let params;

onmessage = async ({ data }) => {
  try {
    postMessage(data.load ? await fetchModel(data.load) : answer(data));
  } catch (error) {
    postMessage({ error: error.message });
  }
};

function answer({ token, state }) {
  const start = performance.now();
  const result = step(token, state, params);
  return { ...result, milliseconds: performance.now() - start };
}

async function fetchModel(address) {
  params = load(await download(address));
  const part = (layer, name) => params[`blocks.${layer}.time_mix.${name}`];
  const state = initialState(params);
  return {
    state,
    parameters: Object.values(params).reduce((sum, array) => sum + array.length, 0),
    readingTime: readingTime(params),
    layers: state.map((_, layer) => ({
      decayRate: part(layer, "log_decay_rate").map(Math.exp),
      bonus: part(layer, "bonus"),
    })),
  };
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
