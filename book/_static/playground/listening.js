// Who is being listened to: the weights that a layer's average gives to the tokens read
// so far. In channel c, with T tokens read, token i weighs
//
//     exp(key_i - (T - 1 - i) decay_rate)  for i < T,    exp(bonus + key_T)  for i = T,
//
// divided by the sum of all of them. The model itself never stores them: it keeps sums.

// keys: one array (C,) a token. The weights (T,), each the mean over all channels.
export function listening(keys, decayRate, bonus) {
  const last = keys.length - 1;
  const weights = new Float32Array(keys.length);
  const inChannel = new Float64Array(keys.length);
  for (let c = 0; c < bonus.length; c++) {
    const exponent = (i) =>
      keys[i][c] + (i === last ? bonus[c] : -(last - 1 - i) * decayRate[c]);
    let top = -Infinity, total = 0;
    for (let i = 0; i <= last; i++) top = Math.max(top, exponent(i));
    for (let i = 0; i <= last; i++) total += inChannel[i] = Math.exp(exponent(i) - top);
    for (let i = 0; i <= last; i++) weights[i] += inChannel[i] / total / bonus.length;
  }
  return weights;
}

// Steps after which a token weighs half as much.
export const halfLife = (decayRate) => Math.LN2 / decayRate;
