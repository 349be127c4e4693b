// The weights in a .safetensors file: a number that says how long a table is, the table
// in JSON, and then nothing but numbers, at the offsets that the table gives.

// From the names in published files to the book's, one after the other.
const NAMES = Object.entries({
  "emb.": "embedding.",
  "blocks.0.ln0": "norm_in",
  ln_out: "norm_out",
  ln1: "norm_time",
  ln2: "norm_channel",
  time_decay: "log_decay_rate",
  time_first: "bonus",
  time_mix_k: "mix_key",
  time_mix_v: "mix_value",
  time_mix_r: "mix_receptance",
  ".x_r": ".shift_receptance",
  ".x_k": ".shift_key",
  ...lowRank("w", "decay"),
  ...lowRank("a", "rate"),
  ...lowRank("v", "value"),
  ...lowRank("g", "gate"),
  ".k_k": ".removal_scale",
  ".k_a": ".rate_in_key",
  ".r_k": ".bonus",
  ln_x: "norm_heads",
  time_state: "first_state",
  "att.": "time_mix.",
  "ffn.": "channel_mix.",
});
// The tensors of a part of RWKV-7 that comes through few numbers.
function lowRank(letter, part) {
  return {
    [`.x_${letter}`]: `.shift_${part}`,
    [`.${letter}0`]: `.${part}_bias`,
    [`.${letter}1`]: `.${part}_down`,
    [`.${letter}2`]: `.${part}_up`,
  };
}

const ourName = (name) => NAMES.reduce((text, pair) => text.replace(...pair), name);

// The file, an ArrayBuffer, as {our name: Float32Array}, as rwkv.js and rwkv7.js take it.
// An array has all numbers of a tensor, row by row, and the tensor's shape beside them.
export function load(file) {
  const { __metadata__, ...tensors } = tableOf(file);
  const start = 8 + tableLength(file);
  const params = {};
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(tensors)) {
    const [from, to] = data_offsets.map((offset) => start + offset);
    if (to > file.byteLength) throw new RangeError(HALF);
    params[ourName(name)] = Object.assign(decode(dtype, file.slice(from, to)), { shape });
  }
  return params;
}

const HALF = "only half a file has come, and the rest of it is missing";
const tableLength = (file) => Number(new DataView(file).getBigUint64(0, true));

// Where a network wants its users to log in first, a page comes in place of any file.
function tableOf(file) {
  const bytes = new Uint8Array(file), isTable = bytes[8] === "{".charCodeAt(0);
  if (isTable && tableLength(file) <= bytes.length - 8) {
    return JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + tableLength(file))));
  }
  const beginning = new TextDecoder().decode(bytes.subarray(0, 64)).trimStart();
  if (beginning.startsWith("<")) {
    throw new TypeError(
      "a web page came in place of its weights, as it does where a network wants you " +
        "to log in: open any other site, and log in",
    );
  }
  if (isTable || bytes.length <= 8) throw new RangeError(HALF);
  throw new TypeError("what came in place of its weights is another file");
}

function decode(dtype, bytes) {
  if (dtype === "F32") return new Float32Array(bytes);
  if (dtype === "F16") return fromHalf(new Uint16Array(bytes));
  throw new TypeError(`weights are stored as ${dtype}, not as F16 or F32`);
}

// A 16-bit float has 5 bits of exponent and 10 of fraction, a 32-bit one 8 and 23: move
// them to their new places, and make up for the different middle of the exponents.
function fromHalf(half) {
  const bits = new Uint32Array(half.length);
  for (let i = 0; i < half.length; i++) {
    bits[i] = ((half[i] & 0x8000) << 16) | ((half[i] & 0x7fff) << 13);
  }
  return new Float32Array(bits.buffer).map((x) => x * 2 ** 112);
}
