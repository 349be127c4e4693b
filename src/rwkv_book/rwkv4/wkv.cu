// The WKV operator of RWKV-4, forward and backward: one source for the GPU and the CPU.
//
// `compiled/hardware.h`, which is put before it, says what a thread, a `real` and a load
// are. What follows is the same text for both.
//
// Time is cut into chunks, which run in parallel, and a chunk into tiles of TILE tokens.
// With one chunk, `forward` and `backward` are the classic loops over all T tokens.
//
// key, value, out and their gradients are `stored`; all sums are `real`, in memory `scalar`.

constexpr int TILE = 16;
#undef WARPS
#define WARPS (SINGLE ? 12 : 8)  // as many as `compiled/gpu.py` gives one: 384 sums
#ifdef __CUDACC__
#define BY_FOUR _Pragma("unroll 4")  // the reads of four are on their way at once
#else
#define BY_FOUR
#endif

// ---------------------------------------------------------------- sums over tokens

// A weighted sum of values and the sum of its weights, (num, den) * exp(log_scale - age * w)
// with w = decay_rate. Four rows of C numbers hold it in memory.
//
// log_scale is the logit of one of the tokens, as it came, and age counts the steps since.
// Subtracting w from it in every step would add up rounding errors: a float near 1000 has
// three decimals. So neither changes until a larger logit comes, and w enters products.
struct Sums { real num, den, log_scale, age; };

DEVICE Sums load(const scalar* from, index C, int lanes) {
  return {load(from, lanes), load(from + C, lanes), load(from + 2 * C, lanes),
          load(from + 3 * C, lanes)};
}
DEVICE void store(scalar* to, Sums x, index C, int lanes) {
  store(to, x.num, lanes);
  store(to + C, x.den, lanes);
  store(to + 2 * C, x.log_scale, lanes);
  store(to + 3 * C, x.age, lanes);
}

DEVICE Sums no_token() {  // on a finite scale: a key may be -infinity, and meet no other
  return {real{}, real{}, real{} - (scalar)(SINGLE ? 3e38 : 1e308), real{}};
}
DEVICE Sums one_token(real logit, real value) { return {value, real{} + 1, logit, real{}}; }
DEVICE Sums decay(Sums x, scalar steps) {
  return {x.num, x.den, x.log_scale, x.age + steps};
}

// The sums over both sets of tokens, on the larger scale: one of two factors is 1.
DEVICE Sums merge(Sums x, Sums y, real w) {
  real one = real{} + 1, gap = (x.log_scale - y.log_scale) - (x.age - y.age) * w;
  real smaller = exponential(-absolute(gap));
  real of_x = gap < 0 ? smaller : one, of_y = gap < 0 ? one : smaller;
  return {of_x * x.num + of_y * y.num, of_x * x.den + of_y * y.den,
          gap < 0 ? y.log_scale : x.log_scale, gap < 0 ? y.age : x.age};
}

// ---------------------------------------------------------------- who computes what

struct Place { index batch, chunk, channel; int lanes; };

DEVICE index least(index x, index y) { return x < y ? x : y; }

// A thread for every vector of every row of (batch, chunk). Neighbouring threads have
// neighbouring channels, so that they read neighbouring memory.
DEVICE Place place(index thread, index chunks, index C) {
  index row = thread / vectors(C), channel = thread % vectors(C) * LANES;
  return {row / chunks, row % chunks, channel, (int)least(LANES, C - channel)};
}

// Up to TILE rows at once, so that no read waits for the one before. A GPU, which would
// wait at every branch, reads the last row again. The tile that comes next, `next` numbers
// further on, is asked for already.
DEVICE void load(real (&tile)[TILE], const stored* from, index C, int rows, int lanes,
                 index next) {
  UNROLL for (int i = 0; i < TILE; i++) if (LANES == 1 || i < rows) {
    const stored* row = from + (i < rows ? i : rows - 1) * C;
    tile[i] = load(row, lanes);
    prefetch(row + next);
  }
}

// work(t, rows) for each tile from `begin` to `end`, where it has `rows` tokens. Whole
// tiles have a loop of their own: there a GPU need not ask at every token if there is one.
template <class Work> DEVICE void each_tile(index begin, index end, Work work) {
  index t = begin;
  for (; t + TILE <= end; t += TILE) work(t, TILE);
  if (t < end) work(t, end - t);
}

// The same from the last tile to the first.
template <class Work> DEVICE void each_tile_back(index begin, index end, Work work) {
  index t = begin + (end - begin) / TILE * TILE;
  if (t < end) work(t, end - t);
  while ((t -= TILE) >= begin) work(t, TILE);
}

// ---------------------------------------------------------------- forward

// Sums over every chunk but the last, on its own. parts (B,chunks,4,C)
KERNEL(sum_chunks, index T, index C, index chunks, index chunk, const scalar* decay_rate,
       const stored* key, const stored* value, scalar* parts) {
  EACH_THREAD {
    Place at = place(thread, chunks - 1, C);
    real w = load(decay_rate + at.channel, at.lanes);
    Sums sums = no_token();
    for (index t = at.chunk * chunk; t < (at.chunk + 1) * chunk; t += TILE) {
      index row = (at.batch * T + t) * C + at.channel;
      real k[TILE], v[TILE];
      load(k, key + row, C, TILE, at.lanes, TILE * C);
      load(v, value + row, C, TILE, at.lanes, TILE * C);
      UNROLL for (int i = 0; i < TILE; i++)
        sums = merge(decay(sums, 1), one_token(k[i], v[i]), w);
    }
    index part = at.batch * chunks + at.chunk;
    store(parts + part * 4 * C + at.channel, sums, C, at.lanes);
  }
}

// The state that enters a chunk: `first` (B,4,C) is carried through the chunks before it,
// or, in reverse, through those after it. sums (B,chunks,4,C) are of each chunk alone.
DEVICE Sums entering(Place at, index T, index C, index chunks, index chunk, real w,
                     const scalar* first, const scalar* sums, bool reverse) {
  Sums carried = load(first + at.batch * 4 * C + at.channel, C, at.lanes);
  index passed = reverse ? chunks - 1 - at.chunk : at.chunk, stride = reverse ? -4 * C : 4 * C;
  scalar steps = reverse ? T - (chunks - 1) * chunk : chunk;  // the last may be short
  sums += (at.batch * chunks + (reverse ? chunks - 1 : 0)) * 4 * C + at.channel;
  BY_FOUR for (; passed > 0; passed--, sums += stride, steps = chunk)
    carried = merge(decay(carried, steps), load(sums, C, at.lanes), w);
  return carried;
}

// The loop of RWKV over the tokens of a chunk. leaving (B,4,C) is the state after the last
// of all tokens; checkpoints (B,tiles,4,C), the states before every tile, may be null.
KERNEL(forward, index T, index C, index chunks, index chunk, const scalar* decay_rate,
       const scalar* bonus, const stored* key, const stored* value, const scalar* first,
       const scalar* parts, stored* out, scalar* leaving, scalar* checkpoints) {
  EACH_THREAD {
    Place at = place(thread, chunks, C);
    real w = load(decay_rate + at.channel, at.lanes);
    real u = load(bonus + at.channel, at.lanes);
    index tiles = (T + TILE - 1) / TILE;
    index begin = at.chunk * chunk, end = least(T, begin + chunk);
    Sums sums = entering(at, T, C, chunks, chunk, w, first, parts, false);
    each_tile(begin, end, [&](index t, int rows) INLINE {
      index row = (at.batch * T + t) * C + at.channel;
      index tile = (at.batch * tiles + t / TILE) * 4 * C + at.channel;
      if (checkpoints) store(checkpoints + tile, sums, C, at.lanes);
      real k[TILE], v[TILE];
      load(k, key + row, C, rows, at.lanes, TILE * C);
      load(v, value + row, C, rows, at.lanes, TILE * C);
      UNROLL for (int i = 0; i < TILE; i++) if (i < rows) {
        Sums now = merge(sums, one_token(u + k[i], v[i]), w);
        store(out + row + i * C, over(now.num, now.den), at.lanes);
        sums = merge(decay(sums, 1), one_token(k[i], v[i]), w);
      }
    });
    if (end == T) store(leaving + at.batch * 4 * C + at.channel, sums, C, at.lanes);
  }
}

// ---------------------------------------------------------------- backward
//
// Let (A_t, B_t) = (num, den) * exp(log_scale - age * w) be the state before token t. The
// token's output is y = N / D with N = A_t + exp(u + k) v and D = B_t + exp(u + k), so the
// loss's gradient (P_t, Q_t) by (A_t, B_t) obeys the forward loop in reverse:
//
//     P_t = exp(-w) P_t+1 + g / D,    Q_t = exp(-w) Q_t+1 - g y / D.
//
// It is kept as Sums too.

// What token t adds: `now` is the state with it, D = now.den * exp(its scale).
DEVICE Sums adjoint(Sums now, real grad) {
  real share = over(grad, now.den);
  return {share, -share * over(now.num, now.den), -now.log_scale, -now.age};
}

// The product of the scales of a state and of a gradient.
DEVICE real product(Sums state, Sums grad, real w) {
  return exponential(state.log_scale + grad.log_scale - (state.age + grad.age) * w);
}

// The gradient by a state's four numbers, where (P, Q) is `grad`.
DEVICE Sums gradient_of(Sums state, Sums grad, real w) {
  real weight = product(state, grad, w);
  real by_num = weight * grad.num, by_den = weight * grad.den;
  return {by_num, by_den, by_num * state.num + by_den * state.den, real{}};
}

// What a part of a state counts on the scale that it has with one more token.
DEVICE real share_of(real part, Sums state, real logit, real w) {
  return merge({part, real{}, state.log_scale, state.age}, one_token(logit, real{}), w).num;
}

// (P, Q) of some tokens on their own: sums over g / D and -g y / D, each times what is
// left of the state that entered. It never grows, so their scale is that state's, and stays.
struct Adjoints { Sums sums, total; real left; };  // left: on the scale of sums

DEVICE Adjoints of_no_token(Sums entering) {
  Sums total = {real{}, real{}, -entering.log_scale, -entering.age};
  return {entering, total, real{} + 1};
}
DEVICE void add(Adjoints& x, real k, real v, real g, real u, real w) {
  Sums now = merge(x.sums, one_token(u + k, v), w);
  real share = over(g, now.den) * share_of(x.left, x.sums, u + k, w);
  x.total.num += share;
  x.total.den -= share * over(now.num, now.den);
  x.left = share_of(x.left, decay(x.sums, 1), k, w);
  x.sums = merge(decay(x.sums, 1), one_token(k, v), w);
}

// The same over every chunk but the first. adjoints (B,chunks,4,C)
KERNEL(sum_adjoints, index T, index C, index chunks, index chunk, const scalar* decay_rate,
       const scalar* bonus, const stored* key, const stored* value,
       const scalar* checkpoints, const stored* grad_out, scalar* adjoints) {
  EACH_THREAD {
    Place at = place(thread, chunks - 1, C);
    real w = load(decay_rate + at.channel, at.lanes);
    real u = load(bonus + at.channel, at.lanes);
    index part = at.batch * chunks + at.chunk + 1, tiles = (T + TILE - 1) / TILE;
    index begin = (at.chunk + 1) * chunk, end = least(T, begin + chunk);
    index tile = (at.batch * tiles + begin / TILE) * 4 * C + at.channel;
    Adjoints found = of_no_token(load(checkpoints + tile, C, at.lanes));
    each_tile(begin, end, [&](index t, int rows) INLINE {
      index row = (at.batch * T + t) * C + at.channel;
      real k[TILE], v[TILE], g[TILE];
      load(k, key + row, C, rows, at.lanes, TILE * C);
      load(v, value + row, C, rows, at.lanes, TILE * C);
      load(g, grad_out + row, C, rows, at.lanes, TILE * C);
      UNROLL for (int i = 0; i < TILE; i++)
        if (i < rows) add(found, k[i], v[i], g[i], u, w);
    });
    store(adjoints + part * 4 * C + at.channel, found.total, C, at.lanes);
  }
}

// Tile by tile from the last to the first: the states again from the checkpoint, then the
// tokens in reverse. No exponent below is positive: now's scale is at least u + k, and the
// negative of (P, Q)'s scale at least that of all that came before. grad_decay_rate and
// grad_bonus (B,chunks,C) are sums over a chunk; grad_state (B,4,C).
KERNEL(backward, index T, index C, index chunks, index chunk, const scalar* decay_rate,
       const scalar* bonus, const stored* key, const stored* value,
       const scalar* checkpoints, const stored* grad_out, const scalar* last,
       const scalar* adjoints, scalar* grad_decay_rate, scalar* grad_bonus,
       stored* grad_key, stored* grad_value, scalar* grad_state) {
  EACH_THREAD {
    Place at = place(thread, chunks, C);
    real w = load(decay_rate + at.channel, at.lanes), grad_w = real{};
    real u = load(bonus + at.channel, at.lanes), grad_u = real{};
    index part = at.batch * chunks + at.chunk, tiles = (T + TILE - 1) / TILE;
    index begin = at.chunk * chunk, end = least(T, begin + chunk);
    Sums after = entering(at, T, C, chunks, chunk, w, last, adjoints, true), before[TILE];
    each_tile_back(begin, end, [&](index t, int rows) INLINE {
      index row = (at.batch * T + t) * C + at.channel;
      index tile = (at.batch * tiles + t / TILE) * 4 * C + at.channel;
      real k[TILE], v[TILE], g[TILE];
      load(k, key + row, C, rows, at.lanes, -TILE * C);
      load(v, value + row, C, rows, at.lanes, -TILE * C);
      load(g, grad_out + row, C, rows, at.lanes, -TILE * C);
      before[0] = load(checkpoints + tile, C, at.lanes);
      UNROLL for (int i = 1; i < TILE; i++) if (i < rows)
        before[i] = merge(decay(before[i - 1], 1), one_token(k[i - 1], v[i - 1]), w);
      index here = row + rows * C;  // walks back: one address is kept, not 16
      UNROLL for (int i = TILE - 1; i >= 0; i--) if (i < rows) {
        here -= C;
        Sums sums = before[i], now = merge(sums, one_token(u + k[i], v[i]), w);
        Sums own = adjoint(now, g[i]);
        real as_newest = own.num * exponential(u + k[i] + own.log_scale - own.age * w);
        real as_earlier = exponential(k[i] + after.log_scale - after.age * w);
        real through_bonus = as_newest * (v[i] - over(now.num, now.den));
        store(grad_value + here, as_newest + as_earlier * after.num, at.lanes);
        store(grad_key + here, through_bonus + as_earlier * (after.num * v[i] + after.den),
              at.lanes);
        grad_u += through_bonus;
        after = decay(after, 1);
        grad_w -= product(sums, after, w) * (sums.num * after.num + sums.den * after.den);
        after = merge(after, own, w);
      }
    });
    store(grad_decay_rate + part * C + at.channel, grad_w, at.lanes);
    store(grad_bonus + part * C + at.channel, grad_u, at.lanes);
    if (begin == 0) {
      Sums grad = gradient_of(before[0], after, w);
      store(grad_state + at.batch * 4 * C + at.channel, grad, C, at.lanes);
    }
  }
}
