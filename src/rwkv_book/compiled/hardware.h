// What a kernel needs of the hardware, whatever it computes: this text is put before its own.
//
// On a GPU (compiled by NVRTC) a thread owns one channel. On a CPU (by g++) it owns one
// vector of channels: `real` is 4 to 16 numbers there, on which + * < ?: work lane by
// lane. A kernel is the same text for both:
//
//     KERNEL(name, index C, ...) { EACH_THREAD { ... } }
//
// runs its block for every `thread` of rows * vectors(C), where C is the number of channels.
//
// STORED is the type of the arrays that are read and written: float, double, bfloat16 or
// float16. Sums are kept in `scalar`: double beside double, float beside the others.

using index = long long;
struct bfloat16 { unsigned short bits; };
struct float16 { unsigned short bits; };
template <class T> struct arithmetic { using type = float; using bits = unsigned; };
template <> struct arithmetic<double> {
  using type = double;
  using bits = unsigned long long;
};

using stored = STORED;
using scalar = arithmetic<stored>::type;
constexpr bool SINGLE = sizeof(scalar) == 4;
constexpr int FRACTION = SINGLE ? 23 : 52;  // bits of a scalar that are not its exponent

#define INLINE __attribute__((always_inline))  // of a lambda, as DEVICE of a function

#ifdef __CUDACC__  // ---------------------------------------- one channel a thread

#define DEVICE static __device__ __forceinline__
#define UNROLL _Pragma("unroll")  // so that a tile is kept in registers
#define WARPS 1  // of a multiprocessor, at least: they share its registers
#define KERNEL(name, ...)                                                             \
  extern "C" __global__ void __launch_bounds__(32, WARPS) name(index rows, __VA_ARGS__)
#define EACH_THREAD                                                                   \
  for (index thread = blockIdx.x * (index)blockDim.x + threadIdx.x;                   \
       thread < rows * vectors(C); thread += gridDim.x * (index)blockDim.x)

constexpr int LANES = 1;
using real = scalar;
using bits = arithmetic<stored>::bits;

DEVICE float exponential(float x) {  // as __expf, but what is below 2^-126 is 0
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.44269504f));
  return y;
}
DEVICE double exponential(double x) { return exp(x); }
DEVICE float over(float x, float y) {  // x / y in two instructions, wrong by two units
  float inverse;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(y));
  return x * inverse;
}
DEVICE double over(double x, double y) { return x / y; }
DEVICE float absolute(float x) { return fabsf(x); }  // for free, in what reads it
DEVICE double absolute(double x) { return fabs(x); }
DEVICE unsigned as_bits(float x) { return __float_as_uint(x); }
DEVICE unsigned long long as_bits(double x) { return __double_as_longlong(x); }
DEVICE float as_real(unsigned x) { return __uint_as_float(x); }
DEVICE double as_real(unsigned long long x) { return __longlong_as_double(x); }
DEVICE real load(const scalar* from, int) { return *from; }
DEVICE bits load(const unsigned short* from, int) { return *from; }
DEVICE void store(scalar* to, real x, int) { *to = x; }
DEVICE void store(unsigned short* to, bits x, int) { *to = x; }
DEVICE void prefetch(const stored*) {}  // other warps work while one waits

#else  // ---------------------------------------------- a vector of channels a thread

#if defined __AVX512F__
constexpr int BYTES = 64;
#elif defined __AVX__
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif

#define DEVICE static inline __attribute__((always_inline))
#define UNROLL
#define KERNEL(name, ...) extern "C" void name(index workers, index rows, __VA_ARGS__)
#define EACH_THREAD                                                                   \
  _Pragma("omp parallel for schedule(dynamic) num_threads(workers)")                  \
  for (index thread = 0; thread < rows * vectors(C); thread++)

constexpr int LANES = BYTES / sizeof(scalar);
template <class T> struct vector_of {
  typedef T type __attribute__((vector_size(LANES * sizeof(T))));
};
template <class T> using vector = typename vector_of<T>::type;
using real = vector<scalar>;
using bits = vector<arithmetic<stored>::bits>;

DEVICE bits as_bits(real x) { return (bits)x; }
DEVICE real as_real(bits x) { return (real)x; }
DEVICE real over(real x, real y) { return x / y; }
DEVICE real absolute(real x) { return as_real(as_bits(x) << 1 >> 1); }

// exp(x) = 2^n exp(r) with an integer n and |r| <= log(2) / 2, where Taylor's series is
// short. Adding 1.5 * 2^FRACTION and taking it away rounds to an integer.
DEVICE real exponential(real x) {
  constexpr int BIAS = SINGLE ? 127 : 1023, TERMS = SINGLE ? 7 : 13;
  constexpr scalar ROUNDER = (scalar)(3ll << (FRACTION - 1)), LOG2_E = 1.4426950408889634;
  constexpr scalar LOG_2 = SINGLE ? 0.693359375 : 0.693147180369123816490;
  constexpr scalar LOG_2_REST = SINGLE ? -2.12194440e-4 : 1.90821492927058770002e-10;
  constexpr scalar LOWEST = SINGLE ? -87.3 : -708.3;  // below it a power of 2 is denormal
  constexpr scalar INVERSE_FACTORIAL[] = {1, 1, 1. / 2, 1. / 6, 1. / 24, 1. / 120, 1. / 720,
      1. / 5040, 1. / 40320, 1. / 362880, 1. / 3628800, 1. / 39916800, 1. / 479001600,
      1. / 6227020800};
  real n = (x * LOG2_E + ROUNDER) - ROUNDER;
  real r = (x - n * LOG_2) - n * LOG_2_REST, series = real{} + INVERSE_FACTORIAL[TERMS];
  for (int i = TERMS; i-- > 0;) series = series * r + INVERSE_FACTORIAL[i];
  bits power = as_bits(n + (ROUNDER + BIAS)) << FRACTION;  // the sum's last bits: n + BIAS
  return x < LOWEST ? real{} : series * as_real(power);
}

// The last vector of a row may hold fewer than LANES channels: the rest reads as zeros.
template <class T> DEVICE vector<T> read(const T* from, int lanes) {
  vector<T> x{};
  if (lanes == LANES) __builtin_memcpy(&x, from, sizeof x);
  else for (int lane = 0; lane < lanes; lane++) x[lane] = from[lane];
  return x;
}
template <class T> DEVICE void write(T* to, vector<T> x, int lanes) {
  if (lanes == LANES) __builtin_memcpy(to, &x, sizeof x);
  else for (int lane = 0; lane < lanes; lane++) to[lane] = x[lane];
}
DEVICE real load(const scalar* from, int lanes) { return read(from, lanes); }
DEVICE bits load(const unsigned short* from, int lanes) {
  return __builtin_convertvector(read(from, lanes), bits);
}
DEVICE void store(scalar* to, real x, int lanes) { write(to, x, lanes); }
DEVICE void store(unsigned short* to, bits x, int lanes) {
  write(to, __builtin_convertvector(x, vector<unsigned short>), lanes);
}

DEVICE void prefetch(const stored* from) { __builtin_prefetch(from); }

#endif  // ------------------------------------- from here on the text is the same for both

// How many vectors hold the channels of a row.
DEVICE index vectors(index C) { return (C + LANES - 1) / LANES; }

// bfloat16 is the upper half of a float; stores round to nearest, ties to even.
DEVICE real load(const bfloat16* from, int lanes) {
  return as_real(load(&from->bits, lanes) << 16);
}
#if __CUDA_ARCH__ >= 800  // since then there is an instruction for it
DEVICE void store(bfloat16* to, real x, int) {
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to->bits) : "f"((float)x));
}
#else
DEVICE void store(bfloat16* to, real x, int lanes) {
  bits all = as_bits(x), rounded = (all + 0x7fff + (all >> 16 & 1)) >> 16;
  store(&to->bits, x == x ? rounded : 0x7fc0 + bits{}, lanes);
}
#endif

// float16 has 5 bits of exponent and 10 of fraction: shifted into a float's place its
// exponent is 112 too small. Infinities and the small numbers below 2^-14 need care,
// which every GPU takes by itself.
#ifdef __CUDACC__
DEVICE real load(const float16* from, int) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(from->bits));
  return x;
}
DEVICE void store(float16* to, real x, int) {
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to->bits) : "f"((float)x));
}
#else
DEVICE real load(const float16* from, int lanes) {
  bits all = load(&from->bits, lanes), size = (all & 0x7fff) << 13;
  bits x = as_bits(as_real(size) * as_real(bits{} + (239 << 23)));  // by 2^112
  x = size < (31 << 23) ? x : x | 255 << 23;
  return as_real(x | (all & 0x8000) << 16);
}
DEVICE void store(float16* to, real x, int lanes) {
  bits all = as_bits(x), size = all & 0x7fffffff, largest = bits{} + 0x7c00;
  bits normal = (size - (112 << 23) + 0xfff + (size >> 13 & 1)) >> 13;
  bits small = as_bits(as_real(size) + as_real(bits{} + (126 << 23))) - (126 << 23);
  bits y = size < (113 << 23) ? small : normal < largest ? normal : largest;
  store(&to->bits, (x == x ? y : bits{} + 0x7e00) | (all >> 16 & 0x8000), lanes);
}
#endif
