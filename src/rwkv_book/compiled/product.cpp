// The product of a matrix (R,W), which is kept in 16 bits, and a vector (W,): for a CPU.
//
// A number is widened where it is multiplied, so that what comes from memory is half as
// much, and the sums, which are float, are those of the same numbers in 32 bits.

constexpr int BLOCK = 8;  // rows of a thread: enough that handing them out costs little
constexpr int SUMS = 4;     // of a row, as a sum waits for the one before
constexpr int AHEAD = 2048;  // numbers: memory is asked for what comes so much later

KERNEL(matrix_times_vector, index R, index W, const stored* matrix, const scalar* x,
       scalar* out) {
  constexpr index C = 1;
  EACH_THREAD {
    index end = thread * BLOCK + BLOCK;
    for (index row = thread * BLOCK; row < (end < R ? end : R); row++) {
      const stored* numbers = matrix + row * W;
      real sums[SUMS] = {};
      index at = 0;
      for (; at + SUMS * LANES <= W; at += SUMS * LANES)
        for (int i = 0; i < SUMS; i++) {
          const stored* some = numbers + at + i * LANES;
          prefetch(some + AHEAD);
          sums[i] += load(some, LANES) * load(x + at + i * LANES, LANES);
        }
      for (; at < W; at += LANES) {
        int lanes = at + LANES <= W ? LANES : W - at;
        sums[0] += load(numbers + at, lanes) * load(x + at, lanes);
      }
      real all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
      scalar sum = 0;
      for (int lane = 0; lane < LANES; lane++) sum += all[lane];
      out[row] = sum;
    }
  }
}
