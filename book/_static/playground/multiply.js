// Matrices times vectors, where a language model spends its time: two operations for
// every weight, and every weight read once.

// matrix (R,C) row by row, R >= 4; x (C,). Four rows at once: their sums don't wait for
// each other, and x is read a quarter as often. The last four may overlap those before.
export function multiply(matrix, x) {
  const columns = x.length;
  const out = new Float32Array(matrix.length / columns);
  for (let next = 0; next < out.length; next += 4) {
    const row = Math.min(next, out.length - 4);
    const at0 = row * columns, at1 = at0 + columns;
    const at2 = at1 + columns, at3 = at2 + columns;
    let sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    for (let i = 0; i < columns; i++) {
      const factor = x[i];
      sum0 += matrix[at0 + i] * factor;
      sum1 += matrix[at1 + i] * factor;
      sum2 += matrix[at2 + i] * factor;
      sum3 += matrix[at3 + i] * factor;
    }
    out[row] = sum0;
    out[row + 1] = sum1;
    out[row + 2] = sum2;
    out[row + 3] = sum3;
  }
  return out;
}

// x (R,) times a matrix (R,C): its rows added up, each as often as x says.
export function combine(x, matrix) {
  const columns = matrix.length / x.length;
  const out = new Float32Array(columns);
  for (let row = 0; row < x.length; row++) {
    const factor = x[row], at = row * columns;
    for (let i = 0; i < columns; i++) out[i] += factor * matrix[at + i];
  }
  return out;
}

// The floor: milliseconds to read all weights once and add them up, the best of five.
export function readingTime(params) {
  let best = Infinity;
  for (let round = 0; round < 5; round++) {
    const start = performance.now();
    for (const weights of Object.values(params)) total(weights);
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

function total(weights) {
  let sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
  for (let i = 0; i + 3 < weights.length; i += 4) {
    sum0 += weights[i];
    sum1 += weights[i + 1];
    sum2 += weights[i + 2];
    sum3 += weights[i + 3];
  }
  return sum0 + sum1 + sum2 + sum3;
}
