// From scores to a token, as `sample` in minimal.py does it. Nothing here remembers
// anything either: chance is a function of a seed and of the token's position.

// Probabilities of all tokens, likeliest first, as [{token, probability, kept}]. `kept`
// are the fewest that reach topP; at temperature 0 that is one token, the likeliest.
export function distribution(logits, temperature, topP) {
  const most = logits.reduce((a, b) => Math.max(a, b));
  const greedy = temperature === 0;
  const weights = Array.from(logits, (logit) =>
    greedy ? Number(logit === most) : Math.exp((logit - most) / temperature));
  const order = weights.map((_, token) => token);
  order.sort((a, b) => weights[b] - weights[a] || a - b);
  const total = order.reduce((sum, token) => sum + weights[token], 0);
  let reached = 0;
  return order.map((token, place) => {
    const kept = place === 0 || (!greedy && reached < topP * total);
    reached += weights[token];
    return { token, probability: weights[token] / total, kept };
  });
}

// The kept token at which a chance between 0 and 1 arrives, walking from the likeliest.
export function choose(sorted, chance) {
  const kept = sorted.filter((entry) => entry.kept);
  const goal = chance * kept.reduce((sum, { probability }) => sum + probability, 0);
  let reached = 0;
  for (const { token, probability } of kept) {
    reached += probability;
    if (goal < reached) return token;
  }
  return kept.at(-1).token;
}

// A number in [0, 1) for a seed and a position: bits stirred until they look random.
export function chance(seed, position) {
  return stir(stir(seed) + position) / 2 ** 32;
}

// Chris Wellons' 32-bit mixer "triple32": each output comes from exactly one input.
function stir(bits) {
  bits ^= bits >>> 17;
  bits = Math.imul(bits, 0xed5ad4bb);
  bits ^= bits >>> 11;
  bits = Math.imul(bits, 0xac4c1b51);
  bits ^= bits >>> 15;
  bits = Math.imul(bits, 0x31848bab);
  return (bits ^ (bits >>> 14)) >>> 0;
}
