// A CPU that plays a GPU for one `__global__` function: thread by thread, in a random
// order, with a look at every access. `warps.py` puts this before the function's text,
// writes Floats for float*, ConstFloats for const float*, and a main behind it.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <tuple>
#include <vector>

#define __global__
#define __device__ inline
#define __launch_bounds__(...)
#define __forceinline__
#define __noinline__
struct uint3 { unsigned x = 0, y = 0, z = 0; };
struct dim3 { unsigned x = 1, y = 1, z = 1; };
static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;

constexpr int WARP = 32, SECTOR = 8;  // threads; floats in the 32 bytes that travel together
constexpr int warpSize = WARP;

// An array, and which thread, counted from 1, wrote and read each of its numbers.
struct Array {
  const char* name;
  std::vector<float> numbers;
  std::vector<uint32_t> writer, reader;
  uint32_t accesses = 0, since = 0;  // of the thread `since`
};
constexpr uint32_t MANY = ~0u;

static std::vector<Array> arrays;
static uint32_t thread;  // counted from 1
static long long patience;
static FILE* report;
// The numbers that a warp touches at the same time: (array, warp, which access) of each.
static std::map<std::tuple<int, uint32_t, uint32_t>, std::vector<long long>> touched;

[[noreturn]] static void fault(const char* kind, const Array& x, long long at, uint32_t other) {
  fprintf(report, "%s %s %lld %u %u\n", kind, x.name, at, thread - 1, other - 1);
  fclose(report);
  _Exit(0);
}

static void touch(int which, long long at, bool write) {
  Array& x = arrays[which];
  if (--patience < 0) fault("endless", x, at, 1);
  if (at < 0 || at >= (long long)x.numbers.size()) fault(write ? "writes" : "reads", x, at, 1);
  if (x.since != thread) x.accesses = 0, x.since = thread;
  touched[{which, (thread - 1) / WARP, x.accesses++}].push_back(at);
  uint32_t writer = x.writer[at], reader = x.reader[at];
  if (writer && writer != thread) fault(write ? "twice" : "race", x, at, writer);
  if (!write) x.reader[at] = reader == 0 || reader == thread ? thread : MANY;
  else if (reader && reader != thread) fault("race", x, at, reader == MANY ? 1 : reader);
  else x.writer[at] = thread;
}

// One number of an array that may be written to.
struct Number {
  int which;
  long long at;
  operator float() const { return touch(which, at, false), arrays[which].numbers[at]; }
  float operator=(float x) { return touch(which, at, true), arrays[which].numbers[at] = x; }
  float operator=(const Number& x) { return *this = (float)x; }
  float operator+=(float x) { return *this = *this + x; }
  float operator-=(float x) { return *this = *this - x; }
  float operator*=(float x) { return *this = *this * x; }
  float operator/=(float x) { return *this = *this / x; }
};
template <class One> struct Pointer {
  int which;
  long long at = 0;
  One operator[](long long i) const { return Number{which, at + i}; }
  One operator*() const { return Number{which, at}; }
  Pointer operator+(long long i) const { return {which, at + i}; }
  Pointer operator-(long long i) const { return {which, at - i}; }
  Pointer& operator+=(long long i) { return at += i, *this; }
  Pointer& operator-=(long long i) { return at -= i, *this; }
  Pointer& operator++() { return *this += 1; }
  template <class Other> operator Pointer<Other>() const {
    static_assert(std::is_same<Other, float>(), "what is const stays const");
    return {which, at};
  }
};
using Floats = Pointer<Number>;
using ConstFloats = Pointer<float>;

#define __expf(x) std::exp((float)(x))
template <class One> One __ldg(Pointer<One> x) { return *x; }
using std::max;
using std::min;

// Reads `size` numbers for every array, runs all threads, and writes the numbers back.
template <class Kernel>
static int play(const char* path, const char* told, std::vector<std::pair<const char*, long>> sizes,
                unsigned grid, unsigned block, unsigned seed, long long most, Kernel kernel) {
  FILE* file = fopen(path, "rb");
  for (auto [name, size] : sizes) {
    Array x{name, std::vector<float>(size), std::vector<uint32_t>(size),
            std::vector<uint32_t>(size)};
    if (fread(x.numbers.data(), 4, size, file) != (size_t)size) return 1;
    arrays.push_back(x);
  }
  fclose(file);
  report = fopen(told, "w");
  patience = most, gridDim.x = grid, blockDim.x = block;
  std::vector<uint32_t> order;
  uint64_t random = seed;
  for (uint32_t next = 0; next < grid * block; next++) {
    random = random * 6364136223846793005u + 1442695040888963407u;  // Knuth's constants
    order.push_back(next);
    std::swap(order[next], order[(random >> 33) % (next + 1)]);
  }
  for (uint32_t next : order) {
    thread = next + 1, threadIdx.x = next % block, blockIdx.x = next / block;
    kernel();
  }
  std::vector<long long> sectors(arrays.size()), least(arrays.size()), many(arrays.size());
  for (auto& [place, numbers] : touched) {
    auto unique = [&] {
      std::sort(numbers.begin(), numbers.end());
      numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
      return (long long)numbers.size();
    };
    int which = std::get<0>(place);
    long long different = unique();
    many[which] += different, least[which] += (different + SECTOR - 1) / SECTOR;
    for (long long& at : numbers) at /= SECTOR;
    sectors[which] += unique();
  }
  file = fopen(path, "wb");
  for (size_t i = 0; i < arrays.size(); i++) {
    fwrite(arrays[i].numbers.data(), 4, arrays[i].numbers.size(), file);
    fprintf(report, "done %s %lld %lld %lld\n", arrays[i].name, sectors[i], least[i], many[i]);
  }
  fclose(file);
  fclose(report);
  return 0;
}
