// A machine that runs PTX, one thread after the other, and looks at every access.
//
// Threads may run in any order, so a byte of an array that one writes may not be touched
// by another. Only the threads of a block wait for each other, at barriers: of what they
// share, this holds from one barrier to the next.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <vector>

union Register {
  uint8_t u8; uint16_t u16; uint32_t u32; uint64_t u64;
  int16_t s16; int32_t s32; int64_t s64; float f32; double f64;
};
struct Instruction { int64_t number; int32_t code, guard, d, a, b, c, line; };
struct Fault { char kind; uint64_t where; uint32_t other; };  // kinds: FAULTS in machine.py

[[noreturn]] static void stop(char kind, uint64_t where, uint32_t other = 0) {
  throw Fault{kind, where, other};
}

// Which threads, counted from 1, were at a byte: the one that wrote it, and two that read it.
struct Touched {
  uint32_t writer = 0, reader = 0, second = 0;

  void read(uint32_t thread, uint64_t at, bool constant = false) {
    if (writer && constant) stop('C', at, writer);
    if (writer && writer != thread) stop('R', at, writer);
    if (!reader) reader = thread;
    else if (reader != thread) second = thread;
  }
  void write(uint32_t thread, uint64_t at) {
    if (writer && writer != thread) stop('W', at, writer);
    for (uint32_t other : {reader, second}) if (other && other != thread) stop('R', at, other);
    writer = thread;
  }
};

// The arrays that a kernel was given.
struct Array { uint64_t begin, end; std::vector<Touched> touched; };

struct Global {
  std::vector<Array> arrays;
  uint32_t thread;

  Array& array_of(uint64_t at, size_t size) {
    if (at % size) stop('A', at);
    for (Array& x : arrays) if (at >= x.begin && at + size <= x.end) return x;
    stop('O', at);
  }
  template <class T> void load(uint64_t at, T& to, bool constant = false) {
    Array& x = array_of(at, sizeof(T));
    if (!x.touched.empty())
      for (size_t i = 0; i < sizeof(T); i++) x.touched[at - x.begin + i].read(thread, at, constant);
    memcpy(&to, (const void*)at, sizeof to);
  }
  template <class T> void load_constant(uint64_t at, T& to) { load(at, to, true); }
  template <class T> void store(uint64_t at, T from) {
    Array& x = array_of(at, sizeof(T));
    if (!x.touched.empty())
      for (size_t i = 0; i < sizeof(T); i++) x.touched[at - x.begin + i].write(thread, at);
    memcpy((void*)at, &from, sizeof from);
  }
};

// What the threads of a block share: who was at each byte since the last barrier.
struct Shared {
  std::vector<uint8_t> bytes, written;
  std::vector<Touched> touched;
  uint32_t thread;
  static constexpr uint32_t BEGIN = 1u << 20;  // its addresses may have 32 bits

  void begin(size_t size) { bytes.assign(size, 0), written.assign(size, 0), meet(); }
  void meet() { touched.assign(bytes.size(), {}); }
  size_t place(uint32_t at, size_t size) {
    if (at % size) stop('A', at);
    if (at < BEGIN || at + size > BEGIN + bytes.size()) stop('O', at);
    return at - BEGIN;
  }
  template <class T> void load(uint32_t at, T& to) {
    size_t begin = place(at, sizeof(T));
    for (size_t i = begin; i < begin + sizeof(T); i++) {
      if (!written[i]) stop('U', at);
      touched[i].read(thread, at);
    }
    memcpy(&to, &bytes[begin], sizeof to);
  }
  template <class T> void store(uint32_t at, T from) {
    size_t begin = place(at, sizeof(T));
    for (size_t i = begin; i < begin + sizeof(T); i++) {
      touched[i].write(thread, at);
      written[i] = true;
    }
    memcpy(&bytes[begin], &from, sizeof from);
  }
};

// A thread's own memory.
struct Local {
  std::vector<uint8_t> bytes, written;
  static constexpr uint64_t BEGIN = 1ull << 60;

  uint64_t place(uint64_t at, size_t size) {
    if (at % size) stop('A', at);
    if (at < BEGIN || at + size > BEGIN + bytes.size()) stop('O', at);
    return at - BEGIN;
  }
  template <class T> void load(uint64_t at, T& to) {
    uint64_t i = place(at, sizeof(T));
    for (size_t j = 0; j < sizeof(T); j++) if (!written[i + j]) stop('U', at);
    memcpy(&to, &bytes[i], sizeof to);
  }
  template <class T> void store(uint64_t at, T from) {
    uint64_t i = place(at, sizeof(T));
    memset(&written[i], 1, sizeof(T));
    memcpy(&bytes[i], &from, sizeof from);
  }
};

// What an approximate instruction may give: up to `units` of the last place beside the
// nearest number, always the same for the same operands. worst = 0: the nearest one.
static int worst = 0;
static float about(float x, int units, uint32_t operands) {
  if (!worst || !std::isfinite(x) || x == 0) return x;
  uint32_t mixed = operands * 2654435761u;
  mixed = (mixed ^ mixed >> 15) * 2246822519u;
  int32_t off = (int32_t)((mixed ^ mixed >> 13) % (2 * units + 1)) - units, size;
  memcpy(&size, &x, sizeof x);
  int32_t sign = size & 0x80000000;
  size = std::clamp((size & 0x7fffffff) + off, 0, 0x7f7fffff) | sign;
  memcpy(&x, &size, sizeof x);
  return x;
}
// y, with as many bits as that of x in it, from the place `at` on.
static uint64_t inserted(uint64_t x, uint64_t y, uint32_t at, int64_t count) {
  uint64_t place = (count < 64 ? (1ull << count) - 1 : ~0ull) << at;
  return (y & ~place) | (x << at & place);
}
static float flushed(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.f, x) : x; }
static uint16_t as_bfloat16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof x);
  return std::isnan(x) ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
static uint16_t as_float16(float x) {
  float size = std::fabs(x);
  int sign = std::signbit(x) << 15, exponent = size < 0x1p-14f ? -14 : std::ilogb(size);
  if (std::isnan(x)) return 0x7fff;
  if (size >= 65520) return sign | 0x7c00;
  int steps = (int)std::nearbyint(std::ldexp(size, 10 - exponent));  // 1024 and more, or small
  return sign | (((exponent + 14) << 10) + steps);
}
static float from_float16(uint16_t x) {
  int exponent = x >> 10 & 31, fraction = x & 1023;
  float size = exponent == 31 ? fraction ? NAN : INFINITY
             : exponent ? std::ldexp(1024.f + fraction, exponent - 25)
             : std::ldexp((float)fraction, -24);
  return x >> 15 ? -size : size;
}

static Global global;
static Shared shared;
static Local local;

struct Program {
  const Instruction* instructions;
  const uint64_t* registers;
  const uint8_t* given;
  int64_t count, size, bytes, shared;
};

static int64_t now;  // the instruction that is being done
static int64_t reading;

struct Thread {
  uint64_t number;
  std::vector<Register> file;
  std::vector<uint8_t> written;
  Local local;
  int64_t next, patience;
};

// To the next barrier, or to the end: whether it is at a barrier.
static bool run_thread(const Program& program, Thread& thread) {
  auto& [number_of_it, file, written, own, next, patience] = thread;
  auto read = [&](int place) -> Register& {
    if (!written[place]) reading = place, stop('U', 0);
    return file[place];
  };
  for (;;) {
    if (--patience < 0) stop('E', 0);
    const Instruction& x = program.instructions[now = next++];
    if (x.guard && (read(std::abs(x.guard) - 1).u8 != 0) != (x.guard > 0)) continue;
    const int64_t number = x.number;
    Register d = file[x.d];
    switch (x.code) {
      /* INSTRUCTIONS */
    }
    file[x.d] = d;
    written[x.d] = true;
  }
}

// Runs the threads in the order given. 0, or the kind of a fault: then `found` is its
// instruction, its thread, where in memory, or which register, and the thread that it met,
// counted from 1, or 0. The last of `found` is how many instructions were done.
extern "C" int run(const Program* program, const uint64_t* arrays, int64_t count,
                   const uint64_t* threads, int64_t many, uint32_t block, uint32_t grid,
                   int units, int watch, int64_t patience, uint64_t* found) {
  worst = units;
  global.arrays.clear();
  for (int64_t i = 0; i < count; i++) {
    Array x{arrays[2 * i], arrays[2 * i] + arrays[2 * i + 1], {}};
    if (watch) x.touched.resize(x.end - x.begin);
    global.arrays.push_back(x);
  }
  // Those of a block together, where they share memory; else each for itself.
  std::vector<std::vector<uint32_t>> groups;
  std::map<uint64_t, size_t> group_of;
  for (int64_t i = 0; i < many; i++) {
    uint64_t which = program->shared ? threads[i] / block : i;
    auto [place, is_new] = group_of.insert({which, groups.size()});
    if (is_new) groups.emplace_back();
    groups[place->second].push_back(i);
  }
  std::vector<Thread> all;
  for (auto& group : groups) {
    all.resize(group.size());
    shared.begin(program->shared);
    for (size_t i = 0; i < group.size(); i++) {
      Thread& x = all[i];
      x.number = threads[group[i]], x.next = 0, x.patience = patience;
      auto registers = (const Register*)program->registers;
      x.file.assign(registers, registers + program->size);
      x.written.assign(program->given, program->given + program->size);
      x.local.bytes.assign(program->bytes, 0), x.local.written.assign(program->bytes, 0);
      const uint64_t told[] = {x.number % block, block, x.number / block, grid};
      for (int j = 0; j < 4; j++) x.file[j].u64 = told[j];
    }
    uint64_t running;
    try {
      for (bool waits = true; waits; shared.meet()) {
        for (size_t i = 0; i < group.size(); i++) {
          running = all[i].number, global.thread = shared.thread = group[i] + 1;
          std::swap(local, all[i].local);
          bool at_barrier = run_thread(*program, all[i]);
          std::swap(local, all[i].local);
          if (i && at_barrier != waits) stop('B', 0);
          waits = at_barrier;
        }
      }
    } catch (Fault fault) {
      found[0] = now, found[1] = running;
      found[2] = fault.kind == 'U' && !fault.where ? reading : fault.where;
      found[3] = fault.other ? threads[fault.other - 1] + 1 : 0;
      return fault.kind;
    }
    for (Thread& x : all) found[4] += patience - x.patience;
  }
  return 0;
}
