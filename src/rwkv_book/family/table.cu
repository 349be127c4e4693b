// The recurrence of a table, forward and backward: one source for the GPU and the CPU.
//
//     found = S remove,    S <- S diag(exp(log_decay)) + found replaceᵀ + value keyᵀ,
//     out = S receptance   (of the new S, or, if BEFORE, of the old one)
//
// A row of S, which is one value, never meets another row; and once `found` is known, no
// number of S meets another one. So three loops over all tokens do without a single sum
// over threads:
//
//     forward        a thread owns rows: it sums over keys, and stores what it `found`
//     backward_rows  a thread owns rows: the same loop in reverse, with S's gradient in it
//     backward_keys  a thread owns keys: S and its gradient again, number by number, and
//                    sums over rows
//
// On a CPU a `real` is LANES rows in the first two, and LANES keys in the last. On a GPU
// a block is a warp, which works on one head: its threads read the rows that all of them
// need together, ahead of time, and take the exponential of each decay once.
//
// A loop, and no chunks of tokens on tensor cores, though these would need, at
// (8,4096,768) in bfloat16 on an H100, forward at least 120 µs, the time of their bytes
// (33 µs of products). The loop is predicted to take 1.9 ms: it has a thread for each row,
// too few to fill the GPU, and each goes through all tokens. It stays because one text
// serves the CPU too, in every type and for heads of any size, with sums in 32 bits; and
// because, without a GPU, no one could say how near chunks come to that floor.
// benchmarks/table_predicted.py has the numbers, and what they leave out.
//
// Before this text stand N keys and M values, and whether there is a `remove`:
//
//     constexpr int N = 64; constexpr int M = 64; constexpr int REMOVE = 1; ...
//
// log_decay, the tables, `found` and all gradients of these are `scalar`, the rest
// `stored`: log_decay, receptance, key, remove, replace (B,T,H,N), value, out, found
// (B,T,H,M), tables (B,H,M,N).

// Tokens from one kept table to the next. With 8 floats a CPU takes up to 3 % longer for a
// training step, and twice the memory; 16 doubles of 128 rows don't fit into what a block
// of a GPU may share, 48 KB.
constexpr int TILE_BYTES = 64;
constexpr int TILE = TILE_BYTES / sizeof(scalar);
#ifdef __CUDACC__
constexpr int WIDEST = 1;
constexpr int BLOCK = 32;  // threads of a block: one warp, which works on one head
constexpr int AHEAD = 1;   // tokens whose rows are on their way while one is worked on
#define UNROLLED UNROLL
#define BY_EIGHT _Pragma("unroll 8")  // reads on their way, as registers allow
#define SHARED __shared__
#else
extern "C" int omp_get_thread_num();
constexpr int WIDEST = BYTES == 64 ? 4 : 2;  // vectors of a thread, as registers allow
constexpr int BLOCK = 1;
constexpr int AHEAD = 4;
#define UNROLLED _Pragma("GCC unroll 8")
#define BY_EIGHT
#define SHARED
#endif

DEVICE constexpr int parts(int all, int size) { return (all + size - 1) / size; }
DEVICE constexpr int smaller(int x, int y) { return x < y ? x : y; }
DEVICE constexpr index smaller(index x, index y) { return x < y ? x : y; }
DEVICE constexpr int blocks(int threads) { return parts(threads, BLOCK) * BLOCK; }

// Memory answers late where neighbouring tokens lie far apart.
template <int COUNT, class T> DEVICE void ask_for(const T* from) {
  for (int i = 0; i < COUNT; i += 64 / sizeof(T)) prefetch((const stored*)(from + i));
}

// ---------------------------------------------------------------- who computes what

constexpr int ROW_VECTORS = smaller(WIDEST, parts(M, LANES));  // of a thread
constexpr int ROW_THREADS = blocks(parts(M, ROW_VECTORS * LANES));  // of a head
constexpr int KEY_VECTORS = smaller(WIDEST, parts(N, LANES));
constexpr int KEY_THREADS = blocks(parts(N, KEY_VECTORS * LANES));

// A head of a text, and the first of the rows or keys of a thread.
struct Place { index batch, head, table; int first; };

DEVICE Place place(index thread, index H, int threads, int vectors) {
  index table = thread / threads;
  return {table / H, table % H, table, (int)(thread % threads) * vectors * LANES};
}
// Which row of (B,T,H) belongs to the token t.
DEVICE index token(Place at, index t, index T, index H) {
  return (at.batch * T + t) * H + at.head;
}
// How many of the vector's lanes hold rows or keys: none, where there are no more.
DEVICE int lanes_of(int first, int all) {
  if (BLOCK > 1 && all % BLOCK == 0) return LANES;
  return first + LANES <= all ? LANES : first < all ? all - first : 0;
}

// ---------------------------------------------------------------- numbers one by one

// Some numbers of which each is needed alone, by all lanes: those of log_decay as
// exponentials. A CPU makes them scalars first. A block of a GPU reads them together,
// each thread its share, and long before: ask_for() begins, and get() puts them where
// all threads see them. PLACE is a number of its own for each of them.
#ifdef __CUDACC__

template <int COUNT, int PLACE> DEVICE scalar* shared_row() {
  __shared__ __align__(16) scalar row[COUNT];
  return row;
}
template <int COUNT, class T, int PLACE = 0, bool DECAY = false> struct Numbers {
  T share[parts(COUNT, BLOCK)];
};
template <int COUNT, class T, int PLACE, bool DECAY>
DEVICE scalar one(const Numbers<COUNT, T, PLACE, DECAY>&, int i) {
  return shared_row<COUNT, PLACE>()[i];
}
template <int COUNT, class T, int PLACE, bool DECAY>
DEVICE void ask_for(Numbers<COUNT, T, PLACE, DECAY>& x, const T* from) {
  UNROLL for (int i = 0; i < COUNT; i += BLOCK) {
    int n = i + threadIdx.x;
    if (COUNT % BLOCK == 0 || n < COUNT) x.share[i / BLOCK] = from[n];
  }
}
template <int COUNT, class T, int PLACE, bool DECAY>
DEVICE void get(Numbers<COUNT, T, PLACE, DECAY>& x, const T*) {
  UNROLL for (int i = 0; i < COUNT; i += BLOCK) {
    int n = i + threadIdx.x;
    if (COUNT % BLOCK && n >= COUNT) continue;
    scalar number = load(&x.share[i / BLOCK], 1);
    shared_row<COUNT, PLACE>()[n] = DECAY ? exponential(number) : number;
  }
}
DEVICE void meet() { __syncwarp(); }
template <class T> DEVICE scalar some(const T* from, int lanes) {
  return lanes ? load(from, 1) : 0;
}
DEVICE index room_of(index thread) { return thread / KEY_THREADS; }
DEVICE real load_apart(const scalar* from, index, int lanes) { return some(from, lanes); }
DEVICE void store_apart(scalar* to, real x, index, int lanes) {
  if (lanes) *to = x;
}

#else

template <int COUNT, class T, int PLACE = 0, bool DECAY = false> struct Numbers {
  real all[parts(COUNT, LANES)];
};
template <int COUNT, class T, int PLACE, bool DECAY>
DEVICE scalar one(const Numbers<COUNT, T, PLACE, DECAY>& x, int i) {
  return ((const scalar*)x.all)[i];
}
template <int COUNT, class T, int PLACE, bool DECAY>
DEVICE void get(Numbers<COUNT, T, PLACE, DECAY>& x, const T* from) {
  UNROLLED for (int i = 0; i < COUNT; i += LANES) {
    real numbers = load(from + i, smaller(LANES, COUNT - i));
    x.all[i / LANES] = DECAY ? exponential(numbers) : numbers;
  }
}
template <int COUNT, int PLACE> struct Numbers<COUNT, scalar, PLACE> { const scalar* all; };
template <int COUNT, int PLACE>
DEVICE scalar one(const Numbers<COUNT, scalar, PLACE>& x, int i) {
  return x.all[i];
}
template <int COUNT, int PLACE>
DEVICE void get(Numbers<COUNT, scalar, PLACE>& x, const scalar* from) {
  x.all = from;
}
template <int COUNT, class T, int PLACE, bool DECAY>
DEVICE void ask_for(Numbers<COUNT, T, PLACE, DECAY>&, const T* from) {
  ask_for<COUNT>(from);
}
DEVICE void meet() {}
template <class T> DEVICE real some(const T* from, int lanes) { return load(from, lanes); }
DEVICE index room_of(index) { return omp_get_thread_num(); }
DEVICE real load_apart(const scalar* from, index apart, int lanes) {
  real x{};
  for (int lane = 0; lane < lanes; lane++) x[lane] = from[lane * apart];
  return x;
}
DEVICE void store_apart(scalar* to, real x, index apart, int lanes) {
  for (int lane = 0; lane < lanes; lane++) to[lane * apart] = x[lane];
}

#endif

// ---------------------------------------------------------------- by rows

#define EACH_VECTOR for (int w = 0; w < ROW_VECTORS; w++)

DEVICE void load_rows(real (&table)[N][ROW_VECTORS], const scalar* from, Place at) {
  for (int n = 0; n < N; n++) for (int w = 0; w < ROW_VECTORS; w++) {
    int row = at.first + w * LANES;
    table[n][w] = load_apart(from + (at.table * M + row) * N + n, N, lanes_of(row, M));
  }
}
DEVICE void store_rows(scalar* to, real (&table)[N][ROW_VECTORS], Place at) {
  for (int n = 0; n < N; n++) for (int w = 0; w < ROW_VECTORS; w++) {
    int row = at.first + w * LANES;
    store_apart(to + (at.table * M + row) * N + n, table[n][w], N, lanes_of(row, M));
  }
}
template <class T> DEVICE void load_values(real (&x)[ROW_VECTORS], const T* from, index token,
                                           Place at) {
  for (int w = 0; w < ROW_VECTORS; w++) {
    int row = at.first + w * LANES;
    x[w] = some(from + token * M + row, lanes_of(row, M));
  }
}
// The same of a later token: read when they are asked for, or only then.
#ifdef __CUDACC__
template <class T> struct Values { T asked; };
template <class T> DEVICE void ask_for(Values<T>& x, const T* from, Place at) {
  x.asked = lanes_of(at.first, M) ? from[at.first] : T{};
}
template <class T> DEVICE void get(real (&to)[1], Values<T>& x, const T*, index, Place) {
  to[0] = load(&x.asked, 1);
}
#else
template <class T> struct Values {};
template <class T> DEVICE void ask_for(Values<T>&, const T* from, Place) {
  ask_for<M>(from);
}
template <class T>
DEVICE void get(real (&to)[ROW_VECTORS], Values<T>&, const T* from, index token, Place at) {
  load_values(to, from, token, at);
}
#endif
template <class T> DEVICE void store_values(T* to, real (&x)[ROW_VECTORS], index token,
                                            Place at) {
  for (int w = 0; w < ROW_VECTORS; w++) {
    int row = at.first + w * LANES;
    if (row < M) store(to + token * M + row, x[w], lanes_of(row, M));
  }
}

// One look at each number a token: while a table is made, what the next token removes is
// looked up in it. `found` may be null where nobody will ask for gradients.
KERNEL(forward, index T, index H, const scalar* log_decay, const stored* receptance,
       const stored* key, const stored* value, const stored* remove, const stored* replace,
       const scalar* state, stored* out, scalar* after, scalar* found) {
  constexpr index C = ROW_THREADS * LANES;  // a thread for every block of rows
  EACH_THREAD {
    Place at = place(thread, H, ROW_THREADS, ROW_VECTORS);
    real table[N][ROW_VECTORS], next[ROW_VECTORS]{};
    load_rows(table, state, at);
    Numbers<N, scalar, 0, true> decay;
    Numbers<N, stored, 1> r;
    Numbers<N, stored, 2> k;
    Numbers<N, stored, 3> gone;
    Numbers<N, stored, 4> instead;
    Values<stored> values;
    auto ask = [&](index t) INLINE {  // for a token, and for what the next one removes
      index row = token(at, smaller(t, T - 1), T, H);
      ask_for(decay, log_decay + row * N), ask_for(r, receptance + row * N);
      ask_for(k, key + row * N), ask_for(values, value + row * M, at);
      if (!REMOVE) return;
      ask_for(instead, replace + row * N);
      ask_for(gone, remove + token(at, smaller(t + 1, T - 1), T, H) * N);
    };
    if (REMOVE && T) {
      const stored* first = remove + token(at, 0, T, H) * N;
      ask_for(gone, first), meet(), get(gone, first), meet();
      for (int n = 0; n < N; n++)
        for (int w = 0; w < ROW_VECTORS; w++) next[w] += table[n][w] * one(gone, n);
    }
    if (T) ask(0);
    for (index t = 0; t < T; t++) {
      index row = token(at, t, T, H);
      real v[ROW_VECTORS], here[ROW_VECTORS], sum[ROW_VECTORS]{};
      meet();
      get(decay, log_decay + row * N);
      get(r, receptance + row * N);
      get(k, key + row * N);
      get(v, values, value, row, at);
      if (REMOVE) {
        get(instead, replace + row * N);
        get(gone, remove + token(at, smaller(t + 1, T - 1), T, H) * N);
        for (int w = 0; w < ROW_VECTORS; w++) here[w] = next[w], next[w] = real{};
        if (found) store_values(found, here, row, at);
      }
      meet(), ask(t + AHEAD);
      UNROLL for (int n = 0; n < N; n++) {
        scalar kept = one(decay, n), asked = one(r, n), under = one(k, n);
        real old[ROW_VECTORS], now[ROW_VECTORS];
        EACH_VECTOR old[w] = table[n][w];
        EACH_VECTOR now[w] = v[w] * under;
        if (REMOVE) EACH_VECTOR now[w] += here[w] * one(instead, n);
        EACH_VECTOR now[w] += old[w] * kept;
        if (REMOVE) EACH_VECTOR next[w] += now[w] * one(gone, n);
        EACH_VECTOR sum[w] += (BEFORE ? old[w] : now[w]) * asked;
        EACH_VECTOR table[n][w] = now[w];
      }
      store_values(out, sum, row, at);
    }
    store_rows(after, table, at);
  }
}

// With A the loss's gradient by S, and g that by out:
//
//     A <- A + g receptanceᵀ,   grad_value = A key,   grad_found = A replace,
//     A <- A diag(exp(log_decay)) + grad_found removeᵀ
//
// or with the first step last, if BEFORE. grad_after may be null.
KERNEL(backward_rows, index T, index H, const scalar* log_decay, const stored* receptance,
       const stored* key, const stored* remove, const stored* replace,
       const stored* grad_out, const scalar* grad_after, stored* grad_value,
       scalar* grad_found, scalar* grad_state) {
  constexpr index C = ROW_THREADS * LANES;
  EACH_THREAD {
    Place at = place(thread, H, ROW_THREADS, ROW_VECTORS);
    real grad[N][ROW_VECTORS]{};
    if (grad_after) load_rows(grad, grad_after, at);
    Numbers<N, scalar, 0, true> decay;
    Numbers<N, stored, 1> r;
    Numbers<N, stored, 2> k;
    Numbers<N, stored, 3> gone;
    Numbers<N, stored, 4> instead;
    Values<stored> values;
    auto ask = [&](index t) INLINE {
      index row = token(at, t < 0 ? 0 : t, T, H);
      ask_for(decay, log_decay + row * N), ask_for(r, receptance + row * N);
      ask_for(k, key + row * N), ask_for(values, grad_out + row * M, at);
      if (REMOVE) ask_for(gone, remove + row * N), ask_for(instead, replace + row * N);
    };
    if (T) ask(T - 1);
    for (index t = T - 1; t >= 0; t--) {
      index row = token(at, t, T, H);
      real g[ROW_VECTORS], by_value[ROW_VECTORS]{}, by_found[ROW_VECTORS]{};
      meet();
      get(decay, log_decay + row * N);
      get(r, receptance + row * N);
      get(k, key + row * N);
      if (REMOVE) get(gone, remove + row * N), get(instead, replace + row * N);
      get(g, values, grad_out, row, at);
      meet(), ask(t - AHEAD);
      UNROLL for (int n = 0; n < N; n++) {
        real by[ROW_VECTORS];
        EACH_VECTOR by[w] = grad[n][w];
        if (!BEFORE) EACH_VECTOR by[w] += g[w] * one(r, n);
        EACH_VECTOR by_value[w] += by[w] * one(k, n);
        if (REMOVE) EACH_VECTOR by_found[w] += by[w] * one(instead, n);
        EACH_VECTOR grad[n][w] = by[w];
      }
      UNROLL for (int n = 0; n < N; n++) {
        real by[ROW_VECTORS];
        EACH_VECTOR by[w] = grad[n][w] * one(decay, n);
        if (REMOVE) EACH_VECTOR by[w] += by_found[w] * one(gone, n);
        if (BEFORE) EACH_VECTOR by[w] += g[w] * one(r, n);
        EACH_VECTOR grad[n][w] = by[w];
      }
      store_values(grad_value, by_value, row, at);
      if (REMOVE) store_values(grad_found, by_found, row, at);
    }
    store_rows(grad_state, grad, at);
  }
}

// ---------------------------------------------------------------- by keys

constexpr int ROWS = 4;                   // of a table that are worked on together
constexpr int PADDED = parts(M, ROWS) * ROWS;  // rows, with some of zeros

// Numbers of a thread's keys.
struct Keys { real part[KEY_VECTORS]; };

template <class T> DEVICE Keys load_keys(const T* from, index row, Place at) {
  Keys x;
  for (int w = 0; w < KEY_VECTORS; w++) {
    int key = at.first + w * LANES;
    x.part[w] = some(from + row * N + key, lanes_of(key, N));
  }
  return x;
}
template <class T> DEVICE void store_keys(T* to, const Keys& x, index row, Place at) {
  for (int w = 0; w < KEY_VECTORS; w++) {
    int key = at.first + w * LANES;
    if (key < N) store(to + row * N + key, x.part[w], lanes_of(key, N));
  }
}

// What the tokens of a tile write, key by key, and all their rows, which each thread of
// a head needs: a block of a GPU reads them together.
struct Written { Keys decay[TILE], key[TILE], replace[TILE]; };
struct Rows { scalar value[TILE][PADDED], found[TILE][PADDED], by_out[TILE][PADDED],
                     by_found[TILE][PADDED]; };

#ifdef __CUDACC__
template <class T> DEVICE void get_rows(scalar (&x)[PADDED], const T* from, index row) {
  UNROLL for (int i = 0; i < PADDED; i += BLOCK) {
    int m = i + threadIdx.x;
    if (PADDED % BLOCK == 0 || m < PADDED) x[m] = some(from + row * M + m, m < M);
  }
}
#else
template <class T> DEVICE void get_rows(scalar (&x)[PADDED], const T* from, index row) {
  Numbers<M, T> numbers;
  get(numbers, from + row * M);
  for (int m = 0; m < PADDED; m++) x[m] = m < M ? one(numbers, m) : 0;
}
#endif

DEVICE void get(Written& x, Rows& rows, int i, index row, Place at,
                const scalar* log_decay, const stored* key, const stored* value,
                const stored* replace, const scalar* found) {
  x.decay[i] = load_keys(log_decay, row, at);
  for (int w = 0; w < KEY_VECTORS; w++)
    x.decay[i].part[w] = exponential(x.decay[i].part[w]);
  x.key[i] = load_keys(key, row, at);
  get_rows(rows.value[i], value, row);
  if (REMOVE) {
    x.replace[i] = load_keys(replace, row, at);
    get_rows(rows.found[i], found, row);
  }
}

DEVICE real written(real old, const Written& x, const Rows& rows, int i, int m, int w) {
  real now = old * x.decay[i].part[w] + rows.value[i][m] * x.key[i].part[w];
  return REMOVE ? now + rows.found[i][m] * x.replace[i].part[w] : now;
}

// kept (rooms,tiles,M,N) has room for the tables before every tile.
KERNEL(backward_keys, index T, index H, const scalar* log_decay, const stored* receptance,
       const stored* key, const stored* value, const stored* remove, const stored* replace,
       const scalar* state, const scalar* found, const stored* grad_out,
       const scalar* grad_after, const scalar* grad_found, scalar* kept,
       scalar* grad_log_decay, stored* grad_receptance, stored* grad_key,
       stored* grad_remove, stored* grad_replace) {
  constexpr index C = KEY_THREADS * LANES;
  EACH_THREAD {
    Place at = place(thread, H, KEY_THREADS, KEY_VECTORS);
    index tiles = (T + TILE - 1) / TILE, room = room_of(thread);
    Keys table[PADDED]{};
    for (int m = 0; m < M; m++) table[m] = load_keys(state, at.table * M + m, at);
    Written x;
    SHARED Rows rows;
    for (index t = 0; t < T; t += TILE) {
      int count = T - t < TILE ? T - t : TILE;
      index tile = (room * tiles + t / TILE) * M;
      for (int m = 0; m < M; m++) store_keys(kept, table[m], tile + m, at);
      if (t + TILE >= T) break;
      meet();
      BY_EIGHT for (int i = 0; i < TILE; i++)
        get(x, rows, i, token(at, t + i, T, H), at, log_decay, key, value, replace, found);
      meet();
      for (int m = 0; m < PADDED; m += ROWS) {
        for (index i = m / ROWS; i < TILE; i += PADDED / ROWS) if (t + TILE + i < T) {
          index ahead = token(at, t + TILE + i, T, H);
          ask_for<N>(log_decay + ahead * N), ask_for<N>(key + ahead * N);
          ask_for<M>(value + ahead * M);
          if (REMOVE) ask_for<N>(replace + ahead * N), ask_for<M>(found + ahead * M);
        }
        Keys now[ROWS];
        for (int j = 0; j < ROWS; j++) now[j] = table[m + j];
        for (int i = 0; i < count; i++)
          UNROLL for (int j = 0; j < ROWS; j++)
            for (int w = 0; w < KEY_VECTORS; w++)
              now[j].part[w] = written(now[j].part[w], x, rows, i, m + j, w);
        for (int j = 0; j < ROWS; j++) table[m + j] = now[j];
      }
    }
    for (int m = 0; m < PADDED; m++)  // from here on: the gradient by the table
      table[m] = grad_after && m < M ? load_keys(grad_after, at.table * M + m, at) : Keys{};
    for (index t = (T - 1) / TILE * TILE; T && t >= 0; t -= TILE) {
      int count = T - t < TILE ? T - t : TILE;
      index tile = (room * tiles + t / TILE) * M;
      Keys r[TILE], gone[TILE];
      Keys by_decay[TILE]{}, by_r[TILE]{}, by_key[TILE]{}, by_gone[TILE]{}, by_instead[TILE]{};
      // A GPU reads a whole tile, for a guard would make it wait for each of its tokens.
      int some_or_all = BLOCK > 1 ? TILE : count;
      meet();
      BY_EIGHT for (int i = 0; i < some_or_all; i++) {
        index row = token(at, t + smaller(i, count - 1), T, H);
        get(x, rows, i, row, at, log_decay, key, value, replace, found);
        r[i] = load_keys(receptance, row, at);
        get_rows(rows.by_out[i], grad_out, row);
        if (REMOVE) {
          gone[i] = load_keys(remove, row, at);
          get_rows(rows.by_found[i], grad_found, row);
        }
      }
      meet();
      for (int m = 0; m < PADDED; m += ROWS) {
        for (index i = m / ROWS; i < TILE; i += PADDED / ROWS) if (t >= TILE) {
          index ahead = token(at, t - TILE + i, T, H);
          ask_for<N>(log_decay + ahead * N), ask_for<N>(receptance + ahead * N);
          ask_for<N>(key + ahead * N), ask_for<M>(value + ahead * M);
          ask_for<M>(grad_out + ahead * M);
          if (REMOVE) {
            ask_for<N>(remove + ahead * N), ask_for<N>(replace + ahead * N);
            ask_for<M>(found + ahead * M), ask_for<M>(grad_found + ahead * M);
          }
        }
        Keys old[TILE + 1][ROWS], grad[ROWS];
        for (int j = 0; j < ROWS; j++) {
          old[0][j] = m + j < M ? load_keys(kept, tile + m + j, at) : Keys{};
          grad[j] = table[m + j];
        }
        for (int i = 0; i < count; i++)
          UNROLL for (int j = 0; j < ROWS; j++)
            for (int w = 0; w < KEY_VECTORS; w++)
              old[i + 1][j].part[w] = written(old[i][j].part[w], x, rows, i, m + j, w);
        for (int i = count - 1; i >= 0; i--)
          for (int w = 0; w < KEY_VECTORS; w++) {
            real decay = x.decay[i].part[w], asked = r[i].part[w], away = gone[i].part[w];
            real d = by_decay[i].part[w], a = by_r[i].part[w], k = by_key[i].part[w];
            real e = by_gone[i].part[w], p = by_instead[i].part[w];
            UNROLL for (int j = 0; j < ROWS; j++) {
              scalar g = rows.by_out[i][m + j];
              real before = old[i][j].part[w], by = grad[j].part[w];
              if (BEFORE) a += g * before;
              else a += g * old[i + 1][j].part[w], by += g * asked;
              k += rows.value[i][m + j] * by;
              d += by * before;
              if (REMOVE) p += rows.found[i][m + j] * by;
              by *= decay;
              if (REMOVE) {
                scalar f = rows.by_found[i][m + j];
                e += f * before, by += f * away;
              }
              if (BEFORE) by += g * asked;
              grad[j].part[w] = by;
            }
            by_decay[i].part[w] = d, by_r[i].part[w] = a, by_key[i].part[w] = k;
            by_gone[i].part[w] = e, by_instead[i].part[w] = p;
          }
        for (int j = 0; j < ROWS; j++) table[m + j] = grad[j];
      }
      for (int i = 0; i < count; i++) {
        index row = token(at, t + i, T, H);
        for (int w = 0; w < KEY_VECTORS; w++) by_decay[i].part[w] *= x.decay[i].part[w];
        store_keys(grad_log_decay, by_decay[i], row, at);
        store_keys(grad_receptance, by_r[i], row, at);
        store_keys(grad_key, by_key[i], row, at);
        if (REMOVE) {
          store_keys(grad_remove, by_gone[i], row, at);
          store_keys(grad_replace, by_instead[i], row, at);
        }
      }
    }
  }
}
