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
// On a CPU a `real` is LANES rows in the first two, and LANES keys in the last.
// Before this text stand N keys and M values, and whether there is a `remove`:
//
//     constexpr int N = 64; constexpr int M = 64; constexpr int REMOVE = 1; ...
//
// log_decay, the tables, `found` and all gradients of these are `scalar`, the rest
// `stored`: log_decay, receptance, key, remove, replace (B,T,H,N), value, out, found
// (B,T,H,M), tables (B,H,M,N).

constexpr int TILE = 8;  // tokens from one kept table to the next
#ifdef __CUDACC__
constexpr int WIDEST = 1;
#define UNROLLED UNROLL
#else
extern "C" int omp_get_thread_num();
#define UNROLLED _Pragma("GCC unroll 8")
constexpr int WIDEST = BYTES == 64 ? 4 : 2;  // vectors of a thread, as registers allow
#endif

constexpr int AHEAD = 4;  // tokens whose rows a CPU asks for before it needs them

DEVICE constexpr int parts(int all, int size) { return (all + size - 1) / size; }
DEVICE constexpr int smaller(int x, int y) { return x < y ? x : y; }

// Memory answers late where neighbouring tokens lie far apart.
template <int COUNT, class T> DEVICE void ask_for(const T* from) {
  for (int i = 0; i < COUNT; i += 64 / sizeof(T)) prefetch((const stored*)(from + i));
}

// ---------------------------------------------------------------- who computes what

constexpr int ROW_VECTORS = smaller(WIDEST, parts(M, LANES));  // of a thread
constexpr int ROW_THREADS = parts(M, ROW_VECTORS * LANES);     // of a head
constexpr int KEY_VECTORS = smaller(WIDEST, parts(N, LANES));
constexpr int KEY_THREADS = parts(N, KEY_VECTORS * LANES);

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
  return first + LANES <= all ? LANES : first < all ? all - first : 0;
}

// ---------------------------------------------------------------- numbers one by one

// Some numbers of which each is needed alone, by all lanes. A CPU makes them scalars
// first, a GPU reads them where they are.
#ifdef __CUDACC__

template <int COUNT, class T> struct Numbers { const T* from; };
template <int COUNT, class T> DEVICE scalar one(const Numbers<COUNT, T>& x, int i) {
  return load(x.from + i, 1);
}
template <int COUNT, class T> DEVICE void get(Numbers<COUNT, T>& x, const T* from) {
  x.from = from;
}
template <int COUNT> struct Decays { const scalar* from; };
template <int COUNT> DEVICE scalar one(const Decays<COUNT>& x, int i) {
  return exponential(x.from[i]);
}
template <int COUNT> DEVICE void get(Decays<COUNT>& x, const scalar* from) {
  x.from = from;
}
DEVICE index room_of(index thread) { return thread / KEY_THREADS; }
DEVICE real load_apart(const scalar* from, index, int) { return *from; }
DEVICE void store_apart(scalar* to, real x, index, int) { *to = x; }

#else

template <int COUNT, class T> struct Numbers { real all[parts(COUNT, LANES)]; };
template <int COUNT, class T> DEVICE scalar one(const Numbers<COUNT, T>& x, int i) {
  return ((const scalar*)x.all)[i];
}
template <int COUNT, class T> DEVICE void get(Numbers<COUNT, T>& x, const T* from) {
  UNROLLED for (int i = 0; i < COUNT; i += LANES)
    x.all[i / LANES] = load(from + i, smaller(LANES, COUNT - i));
}
template <int COUNT> struct Numbers<COUNT, scalar> { const scalar* all; };
template <int COUNT> DEVICE scalar one(const Numbers<COUNT, scalar>& x, int i) {
  return x.all[i];
}
template <int COUNT> DEVICE void get(Numbers<COUNT, scalar>& x, const scalar* from) {
  x.all = from;
}
template <int COUNT> struct Decays { real all[parts(COUNT, LANES)]; };
template <int COUNT> DEVICE scalar one(const Decays<COUNT>& x, int i) {
  return ((const scalar*)x.all)[i];
}
template <int COUNT> DEVICE void get(Decays<COUNT>& x, const scalar* from) {
  UNROLLED for (int i = 0; i < COUNT; i += LANES)
    x.all[i / LANES] = exponential(load(from + i, smaller(LANES, COUNT - i)));
}
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
    x[w] = load(from + token * M + row, lanes_of(row, M));
  }
}
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
    Decays<N> decay;
    Numbers<N, stored> r, k, gone, instead;
    if (REMOVE) {
      get(gone, remove + token(at, 0, T, H) * N);
      for (int n = 0; n < N; n++)
        for (int w = 0; w < ROW_VECTORS; w++) next[w] += table[n][w] * one(gone, n);
    }
    for (index t = 0; t < T; t++) {
      index row = token(at, t, T, H);
      get(decay, log_decay + row * N);
      get(r, receptance + row * N);
      get(k, key + row * N);
      index ahead = token(at, t + AHEAD < T ? t + AHEAD : t, T, H);
      ask_for<N>(log_decay + ahead * N), ask_for<N>(receptance + ahead * N);
      ask_for<N>(key + ahead * N), ask_for<M>(value + ahead * M);
      if (REMOVE) ask_for<N>(remove + ahead * N), ask_for<N>(replace + ahead * N);
      real v[ROW_VECTORS], here[ROW_VECTORS], sum[ROW_VECTORS]{};
      load_values(v, value, row, at);
      if (REMOVE) {
        get(instead, replace + row * N);
        get(gone, remove + token(at, t + 1 < T ? t + 1 : t, T, H) * N);
        for (int w = 0; w < ROW_VECTORS; w++) here[w] = next[w], next[w] = real{};
        if (found) store_values(found, here, row, at);
      }
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
    Decays<N> decay;
    Numbers<N, stored> r, k, gone, instead;
    for (index t = T - 1; t >= 0; t--) {
      index row = token(at, t, T, H);
      get(decay, log_decay + row * N);
      get(r, receptance + row * N);
      get(k, key + row * N);
      if (REMOVE) get(gone, remove + row * N), get(instead, replace + row * N);
      index ahead = token(at, t < AHEAD ? t : t - AHEAD, T, H);
      ask_for<N>(log_decay + ahead * N), ask_for<N>(receptance + ahead * N);
      ask_for<N>(key + ahead * N), ask_for<M>(grad_out + ahead * M);
      if (REMOVE) ask_for<N>(remove + ahead * N), ask_for<N>(replace + ahead * N);
      real g[ROW_VECTORS], by_value[ROW_VECTORS]{}, by_found[ROW_VECTORS]{};
      load_values(g, grad_out, row, at);
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
    x.part[w] = load(from + row * N + key, lanes_of(key, N));
  }
  return x;
}
template <class T> DEVICE void store_keys(T* to, const Keys& x, index row, Place at) {
  for (int w = 0; w < KEY_VECTORS; w++) {
    int key = at.first + w * LANES;
    if (key < N) store(to + row * N + key, x.part[w], lanes_of(key, N));
  }
}

// What the tokens of a tile write, key by key and row by row.
struct Written {
  Keys decay[TILE], key[TILE], replace[TILE];
  scalar value[TILE][PADDED], found[TILE][PADDED];
};

template <class T> DEVICE void get_rows(scalar (&x)[PADDED], const T* from, index row) {
  Numbers<M, T> numbers;
  get(numbers, from + row * M);
  for (int m = 0; m < PADDED; m++) x[m] = m < M ? one(numbers, m) : 0;
}

DEVICE void get(Written& x, index i, index row, Place at, const scalar* log_decay,
                const stored* key, const stored* value, const stored* replace,
                const scalar* found) {
  x.decay[i] = load_keys(log_decay, row, at);
  for (int w = 0; w < KEY_VECTORS; w++)
    x.decay[i].part[w] = exponential(x.decay[i].part[w]);
  x.key[i] = load_keys(key, row, at);
  get_rows(x.value[i], value, row);
  if (REMOVE) {
    x.replace[i] = load_keys(replace, row, at);
    get_rows(x.found[i], found, row);
  }
}

DEVICE real written(real old, const Written& x, int i, int m, int w) {
  real now = old * x.decay[i].part[w] + x.value[i][m] * x.key[i].part[w];
  return REMOVE ? now + x.found[i][m] * x.replace[i].part[w] : now;
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
    for (index t = 0; t < T; t += TILE) {
      int count = T - t < TILE ? T - t : TILE;
      index tile = (room * tiles + t / TILE) * M;
      for (int m = 0; m < M; m++) store_keys(kept, table[m], tile + m, at);
      if (t + TILE >= T) break;
      for (int i = 0; i < count; i++)
        get(x, i, token(at, t + i, T, H), at, log_decay, key, value, replace, found);
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
              now[j].part[w] = written(now[j].part[w], x, i, m + j, w);
        for (int j = 0; j < ROWS; j++) table[m + j] = now[j];
      }
    }
    for (int m = 0; m < PADDED; m++)  // from here on: the gradient by the table
      table[m] = grad_after && m < M ? load_keys(grad_after, at.table * M + m, at) : Keys{};
    for (index t = (tiles - 1) * TILE; t >= 0; t -= TILE) {
      int count = T - t < TILE ? T - t : TILE;
      index tile = (room * tiles + t / TILE) * M;
      Keys r[TILE], gone[TILE];
      Keys by_decay[TILE]{}, by_r[TILE]{}, by_key[TILE]{}, by_gone[TILE]{}, by_instead[TILE]{};
      scalar by_out[TILE][PADDED], by_found[TILE][PADDED];
      for (int i = 0; i < count; i++) {
        index row = token(at, t + i, T, H);
        get(x, i, row, at, log_decay, key, value, replace, found);
        r[i] = load_keys(receptance, row, at);
        get_rows(by_out[i], grad_out, row);
        if (REMOVE) {
          gone[i] = load_keys(remove, row, at);
          get_rows(by_found[i], grad_found, row);
        }
      }
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
              old[i + 1][j].part[w] = written(old[i][j].part[w], x, i, m + j, w);
        for (int i = count - 1; i >= 0; i--)
          for (int w = 0; w < KEY_VECTORS; w++) {
            real decay = x.decay[i].part[w], asked = r[i].part[w], away = gone[i].part[w];
            real d = by_decay[i].part[w], a = by_r[i].part[w], k = by_key[i].part[w];
            real e = by_gone[i].part[w], p = by_instead[i].part[w];
            UNROLL for (int j = 0; j < ROWS; j++) {
              scalar g = by_out[i][m + j];
              real before = old[i][j].part[w], by = grad[j].part[w];
              if (BEFORE) a += g * before;
              else a += g * old[i + 1][j].part[w], by += g * asked;
              k += x.value[i][m + j] * by;
              d += by * before;
              if (REMOVE) p += x.found[i][m + j] * by;
              by *= decay;
              if (REMOVE) e += by_found[i][m + j] * before, by += by_found[i][m + j] * away;
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
