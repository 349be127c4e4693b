// The WKV operator in one pass: every key is read once. For a GPU alone, behind `wkv.cu`.
//
// Where there are channels enough for a whole GPU, time need not be cut into chunks, whose
// keys are read twice. A block has TOGETHER warps, which own the same 32 channels. At a turn
// they take as many tiles, one after the other in time, a warp each. A warp sums its tile
// up, tells the other warps, and goes on with the keys that it still holds in registers.

constexpr int TOGETHER = 8;            // warps of a block
constexpr int TURN = TILE * TOGETHER;  // tokens of a block at a turn
#undef KERNEL
#define KERNEL(name, ...)                                                             \
  extern "C" __global__ void __launch_bounds__(32 * TOGETHER, SINGLE ? 2 : 1)         \
  name(index rows, __VA_ARGS__)
// A block for every 32 channels of every text.
#define EACH_BLOCK                                                                    \
  for (index block = blockIdx.x; block < rows * ((C + 31) / 32); block += gridDim.x)
#define ROLLED _Pragma("unroll 1")  // one after the other, in few registers

DEVICE int my_tile() { return threadIdx.x / 32; }  // of a turn
DEVICE int my_lane() { return threadIdx.x % 32; }

// Whose numbers a thread has. In the last block of a text some threads have no channel of
// their own: they go along with the last channel, and write nothing.
struct Owner { unsigned batch, channel; bool writes; };
DEVICE Owner owner(index block, index C) {
  index blocks = (C + 31) / 32, channel = block % blocks * 32 + my_lane();
  return {(unsigned)(block / blocks), (unsigned)least(channel, C - 1), channel < C};
}

// ---------------------------------------------------------------- what warps tell others

// Where a channel's sums, four numbers, are found by all warps: those of each tile, and
// behind them those that came before the turn. The next turn has another place (`odd`), so
// that warps meet once a turn.
DEVICE scalar* told(int odd, int tile) {
  __shared__ scalar sums[2][TOGETHER + 1][4 * 32];
  return sums[odd][tile] + my_lane();
}
DEVICE void meet() { __syncthreads(); }

// How many tokens a turn of `tokens` leaves for one of its tiles.
DEVICE int rows_of(int tile, int tokens) { return max(0, min(TILE, tokens - tile * TILE)); }

// What a tile gets of the sums that pass all tiles, each of which lets them fade and adds
// its own: forward they pass the first tile first, in the backward pass the last.
struct Passing {
  bool reverse;
  int odd = 0;

  __device__ __forceinline__ int tile(int order) const {
    return reverse ? TOGETHER - 1 - order : order;
  }
  __device__ __forceinline__ void begin(Sums sums) {
    if (my_tile() == 0) store(told(odd, TOGETHER), sums, 32, 1);
  }
  __device__ __forceinline__ Sums before(Sums own, int tokens, real w) {
    int order = tile(my_tile());
    store(told(odd, order), own, 32, 1);
    meet();
    Sums sums = load(told(odd, TOGETHER), 32, 1);
    ROLLED for (int i = 0; i < order; i++)
      sums = merge(decay(sums, rows_of(tile(i), tokens)), load(told(odd, i), 32, 1), w);
    odd ^= 1;
    if (order == TOGETHER - 1) {
      Sums all = merge(decay(sums, rows_of(my_tile(), tokens)), own, w);
      store(told(odd, TOGETHER), all, 32, 1);
    }
    return sums;
  }
  __device__ __forceinline__ Sums end() const {
    meet();
    return load(told(odd, TOGETHER), 32, 1);
  }
};

// ---------------------------------------------------------------- one scale for a tile

// A tile is even if its keys are so near to its last one, and the bonus to 0, that all its
// tokens can be counted on the scale of that key: no sum, no inverse and no product of the
// two leaves the range of a float. Then a token takes one exponential, and what fades is
// multiplied. Other tiles, and the rest of a text, are taken token by token.
constexpr int NEAR = 20;
constexpr int NEAR_BONUS = 10;

DEVICE bool even(const real (&k)[TILE]) {
  bool near = true;
  UNROLL for (int i = 0; i < TILE; i++) near &= absolute(k[i] - k[TILE - 1]) <= NEAR;
  return near;
}
DEVICE void load_tile(real (&tile)[TILE], const stored* from, index C) {
  UNROLL for (int i = 0; i < TILE; i++, from += C) tile[i] = load(from, 1);
}
// In one instruction: no thread has to go another way.
DEVICE void store_if(bool writes, stored* to, real x) {
  stored y;
  store(&y, x, 1);
  if (writes) *to = y;
}
// How far the logit of their scale, as old as it is, is above `last`.
DEVICE real above(Sums sums, real last, real w) {
  return (sums.log_scale - last) - sums.age * w;
}
DEVICE Sums on_scale(Sums sums, real last, real w) {
  real weight = exponential(above(sums, last, w));
  return {sums.num * weight, sums.den * weight, last, real{}};
}
// With one more token, on the same scale.
DEVICE Sums next(Sums sums, real weight, real value, real fade) {
  return {sums.num * fade + weight * value, sums.den * fade + weight, sums.log_scale, real{}};
}

// The sums over an even tile. Its keys become weights, on the scale of the last.
DEVICE Sums sum(real (&k)[TILE], const real (&v)[TILE], real fade) {
  Sums sums = {real{}, real{}, k[TILE - 1], real{}};
  UNROLL for (int i = 0; i < TILE; i++) {
    k[i] = exponential(k[i] - sums.log_scale);
    sums = next(sums, k[i], v[i], fade);
  }
  return sums;
}

// The state some tokens later, whatever their keys: each is read when its turn comes.
DEVICE Sums later(Sums sums, const stored* key, const stored* value, index C, int rows,
                  real w) {
  ROLLED for (int i = 0; i < rows; i++, key += C, value += C)
    sums = merge(decay(sums, 1), one_token(load(key, 1), load(value, 1)), w);
  return sums;
}

// Where the tokens of a tile are. `row` may lie behind a text's last token, where a tile has
// none; from `whole` on there are 16 always, and for a whole tile it is the same.
struct Rows { int count; index t, row, whole; };
DEVICE Rows rows_from(int begin, int tokens, Owner at, index T, index C) {
  index t = begin + my_tile() * TILE, text = at.batch * T * C + at.channel;
  return {rows_of(my_tile(), tokens), t, text + t * C, text + least(t, T - TILE) * C};
}

// ---------------------------------------------------------------- forward

// As `forward` with one chunk; `parts` is not read.
KERNEL(forward_in_one_pass, index T, index C, index, index, const scalar* decay_rate,
       const scalar* bonus, const stored* key, const stored* value, const scalar* first_state,
       const scalar* parts, stored* out, scalar* leaving, scalar* checkpoints) {
  EACH_BLOCK {
    Owner at = owner(block, C);
    real w = decay_rate[at.channel], fade = exp(-(double)w);
    real u = bonus[at.channel], extra = exponential(u);
    index tiles = (T + TILE - 1) / TILE, state = 4 * C * at.batch + at.channel;
    Passing passing = {false};
    passing.begin(load(first_state + state, C, 1));
    for (int begin = 0; begin < T; begin += TURN) {
      int tokens = least(TURN, T - begin);
      auto [rows, t, row, whole] = rows_from(begin, tokens, at, T, C);
      real k[TILE], v[TILE];
      load_tile(k, key + whole, C);
      load_tile(v, value + whole, C);
      real last = k[TILE - 1];
      bool is_even = rows == TILE && absolute(u) <= NEAR_BONUS && even(k);
      Sums own = sum(k, v, fade);
      if (!is_even) own = later(no_token(), key + row, value + row, C, rows, w);
      Sums sums = passing.before(own, tokens, w);
      if (checkpoints && at.writes && rows)
        store(checkpoints + (at.batch * tiles + t / TILE) * 4 * C + at.channel, sums, C, 1);
      if (is_even && above(sums, last, w) <= NEAR) {
        sums = on_scale(sums, last, w);
        UNROLL for (int i = 0; i < TILE; i++) {
          real num = sums.num + extra * (k[i] * v[i]), den = sums.den + extra * k[i];
          store_if(at.writes, out + whole + i * C, over(num, den));
          sums = next(sums, k[i], v[i], fade);
        }
      } else {
        ROLLED for (int i = 0; i < rows; i++, row += C) {
          real k = load(key + row, 1), v = load(value + row, 1);
          Sums now = merge(sums, one_token(u + k, v), w);
          if (at.writes) store(out + row, over(now.num, now.den), 1);
          sums = merge(decay(sums, 1), one_token(k, v), w);
        }
      }
    }
    Sums after = passing.end();
    if (at.writes && my_tile() == 0) store(leaving + state, after, C, 1);
    meet();
  }
}

// ---------------------------------------------------------------- backward

// (P, Q) of some tokens alone, by the state before them: as `sum_adjoints`.
DEVICE Sums adjoints(Sums sums, const stored* key, const stored* value,
                     const stored* grad_out, index C, int rows, real u, real w) {
  Adjoints found = of_no_token(sums);
  ROLLED for (index i = 0; i < rows * C; i += C)
    add(found, load(key + i, 1), load(value + i, 1), load(grad_out + i, 1), u, w);
  return found.total;
}

// What a thread has found of the gradients by decay rate and bonus: out of the registers.
DEVICE scalar& gathered(int which, int tile) {
  __shared__ scalar sums[2][TOGETHER][32];
  return sums[which][tile][my_lane()];
}
DEVICE real sum_gathered(int which) {
  real total = 0;
  UNROLL for (int tile = 0; tile < TOGETHER; tile++) total += gathered(which, tile);
  return total;
}

// The compiler is to compute again what it knows of x: there are no registers to keep it in.
DEVICE void forget(float& x) { asm("" : "+f"(x)); }
DEVICE void forget(double& x) { asm("" : "+d"(x)); }

// As `backward` with one chunk; `adjoints` is not read. An even tile keeps its states; of
// another one they are computed again for every token, which takes few registers.
KERNEL(backward_in_one_pass, index T, index C, index, index, const scalar* decay_rate,
       const scalar* bonus, const stored* key, const stored* value,
       const scalar* checkpoints, const stored* grad_out, const scalar* last_adjoint,
       const scalar* parts, scalar* grad_decay_rate, scalar* grad_bonus,
       stored* grad_key, stored* grad_value, scalar* grad_state) {
  EACH_BLOCK {
    Owner at = owner(block, C);
    real w = decay_rate[at.channel], fade = exp(-(double)w);
    real u = bonus[at.channel], extra = exponential(u);
    index tiles = (T + TILE - 1) / TILE, state = 4 * C * at.batch + at.channel;
    Passing passing = {true};
    passing.begin(load(last_adjoint + state, C, 1));
    gathered(0, my_tile()) = gathered(1, my_tile()) = 0;
    for (int begin = (T - 1) / TURN * TURN; begin >= 0; begin -= TURN) {
      int tokens = least(TURN, T - begin);
      auto [rows, t, row, whole] = rows_from(begin, tokens, at, T, C);
      index tile = (at.batch * tiles + t / TILE) * 4 * C + at.channel;
      real k[TILE], v[TILE], g[TILE], num[TILE], den[TILE];  // the last two: before a token
      load_tile(k, key + whole, C);
      load_tile(v, value + whole, C);
      load_tile(g, grad_out + whole, C);
      Sums entering = rows ? load(checkpoints + tile, C, 1) : no_token();
      real last = k[TILE - 1];
      bool is_even = rows == TILE && absolute(u) <= NEAR_BONUS && even(k) &&
                     above(entering, last, w) <= NEAR;
      Sums sums = on_scale(entering, last, w), own = {real{}, real{}, -last, real{}};
      UNROLL for (int i = 0; i < TILE; i++) {
        k[i] = exponential(k[i] - last), num[i] = sums.num, den[i] = sums.den;
        sums = next(sums, k[i], v[i], fade);
      }
      UNROLL for (int i = TILE - 1; i >= 0; i--) {
        real weight = extra * k[i], inverse = over(1, den[i] + weight), share = g[i] * inverse;
        own.num = own.num * fade + share;
        own.den = own.den * fade - share * ((num[i] + weight * v[i]) * inverse);
      }
      if (!is_even) own = no_token();
      if (!is_even && rows)
        own = adjoints(entering, key + row, value + row, grad_out + row, C, rows, u, w);
      Sums after = passing.before(own, tokens, w);
      real grad_w = 0, grad_u = 0;
      if (is_even) {
        after = on_scale(after, -last, w);
        index here = whole + TILE * C;
        UNROLL for (int i = 0; i < TILE; i++) forget(den[i]), forget(num[i]), forget(k[i]);
        UNROLL for (int i = TILE - 1; i >= 0; i--) {
          here -= C;
          real weight = extra * k[i], inverse = over(1, den[i] + weight);
          real average = (num[i] + weight * v[i]) * inverse, share = g[i] * inverse;
          real as_newest = share * weight, through_bonus = as_newest * (v[i] - average);
          real by_key = through_bonus + k[i] * (after.num * v[i] + after.den);
          store_if(at.writes, grad_value + here, as_newest + k[i] * after.num);
          store_if(at.writes, grad_key + here, by_key);
          grad_u += through_bonus;
          grad_w -= after.num * num[i], grad_w -= after.den * den[i];
          after.num = after.num * fade + share;
          after.den = after.den * fade - share * average;
        }
        grad_w *= fade;
      } else {
        ROLLED for (int i = rows - 1; i >= 0; i--) {
          index here = row + i * C;
          real k = load(key + here, 1), v = load(value + here, 1);
          Sums sums = later(load(checkpoints + tile, C, 1), key + row, value + row, C, i, w);
          Sums now = merge(sums, one_token(u + k, v), w);
          Sums own = adjoint(now, load(grad_out + here, 1));
          real as_newest = own.num * exponential(u + k + own.log_scale - own.age * w);
          real as_earlier = exponential(k + after.log_scale - after.age * w);
          real through_bonus = as_newest * (v - over(now.num, now.den));
          if (at.writes) {
            store(grad_value + here, as_newest + as_earlier * after.num, 1);
            store(grad_key + here,
                  through_bonus + as_earlier * (after.num * v + after.den), 1);
          }
          grad_u += through_bonus;
          after = decay(after, 1);
          grad_w -= product(sums, after, w) * (sums.num * after.num + sums.den * after.den);
          after = merge(after, own, w);
        }
      }
      gathered(0, my_tile()) += grad_w, gathered(1, my_tile()) += grad_u;
    }
    Sums after = passing.end();
    if (at.writes && my_tile() == 0) {
      grad_decay_rate[at.batch * C + at.channel] = sum_gathered(0);
      grad_bonus[at.batch * C + at.channel] = sum_gathered(1);
      Sums sums = load(checkpoints + at.batch * tiles * 4 * C + at.channel, C, 1);
      store(grad_state + state, gradient_of(sums, after, w), C, 1);
    }
    meet();
  }
}
