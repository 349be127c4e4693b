// Who is being listened to: the weights of the tokens read so far in what a layer hears.
// The models never store them: they keep sums.
//
// In channel c of an RWKV-4, with T tokens read, token i weighs
//
//     exp(key_i - (T - 1 - i) decay_rate)  for i < T,    exp(bonus + key_T)  for i = T,
//
// divided by the sum of all of them.

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

// In a head of an RWKV-7, with T tokens read, the value of token i arrives multiplied by
//
//     key_i . G_(i+1) ... G_T receptance_T,   G = diag(decay) - removed (removed rate)',
//
// which may be negative. Its share is its size, divided by the sum of all sizes.

// parts: those of one layer, one after each token. The shares (T,), each the mean over
// all heads of `size` channels.
export function listeningInTables(parts, size) {
  const width = parts[0].key.length, shares = new Float32Array(parts.length);
  for (let head = 0; head < width; head += size) {
    const asked = parts.at(-1).receptance.slice(head, head + size); // G ... G receptance
    const dot = (x, y) => asked.reduce((sum, q, n) => sum + q * x[head + n] * y(n), 0);
    const weights = new Float64Array(parts.length);
    for (let i = parts.length - 1; i >= 0; i--) {
      const { decay, key, removed, rate } = parts[i];
      weights[i] = Math.abs(dot(key, () => 1));
      const taken = dot(removed, (n) => rate[head + n]);
      asked.forEach((q, n) =>
        (asked[n] = decay[head + n] * q - removed[head + n] * taken));
    }
    const total = weights.reduce((sum, weight) => sum + weight, 0) || 1;
    weights.forEach((weight, i) => (shares[i] += (weight / total / width) * size));
  }
  return shares;
}

// Steps after which a token weighs half as much.
export const halfLife = (decayRate) => Math.LN2 / decayRate;
