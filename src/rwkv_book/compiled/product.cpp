// The product of a matrix (R, 2P) in bfloat16 and a vector (2P,) in float: for a CPU.
//
// Of the 32 bits of two neighbours, the upper half, with zeros below, is the odd one as a
// float; the lower half, shifted up, is the even one. So nothing moves from lane to lane,
// if the vector comes as its even and its odd numbers. What is read from memory is half
// of what floats would be, and the sums are those of the same numbers.

constexpr int BLOCK = 8;     // rows of a thread: enough that handing them out costs little
constexpr int ROWS = 4;      // at once, as a sum waits for the one before
constexpr int AHEAD = 2048;  // pairs: memory is asked for what comes so much later

struct Sums { real even, odd; };

DEVICE void add(Sums& sums, bits pairs, real even, real odd) {
  sums.even += as_real(pairs << 16) * even;
  sums.odd += as_real(pairs & 0xffff0000) * odd;
}

DEVICE scalar total(Sums sums) {
  real both = sums.even + sums.odd;
  scalar sum = 0;
  for (int lane = 0; lane < LANES; lane++) sum += both[lane];
  return sum;
}

KERNEL(matrix_times_vector, index R, index P, const unsigned* matrix, const scalar* even,
       const scalar* odd, scalar* out) {
  constexpr index C = 1;
  EACH_THREAD {
    for (index first = thread * BLOCK; first < thread * BLOCK + BLOCK; first += ROWS) {
      const unsigned* row[ROWS];  // below the last row it is that one again
      for (int i = 0; i < ROWS; i++) row[i] = matrix + (first + i < R ? first + i : R - 1) * P;
      Sums sums[ROWS] = {};
      index at = 0;
      for (; at + LANES <= P; at += LANES) {
        real x = load(even + at, LANES), y = load(odd + at, LANES);
        for (int i = 0; i < ROWS; i++) {
          __builtin_prefetch(row[i] + at + AHEAD);
          add(sums[i], read(row[i] + at, LANES), x, y);
        }
      }
      if (at < P) {
        int lanes = P - at;
        real x = load(even + at, lanes), y = load(odd + at, lanes);
        for (int i = 0; i < ROWS; i++) add(sums[i], read(row[i] + at, lanes), x, y);
      }
      for (int i = 0; i < ROWS && first + i < R; i++) out[first + i] = total(sums[i]);
    }
  }
}
