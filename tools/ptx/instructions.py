"""What each instruction of PTX does, in a line of C++.

`d` is the register that is written, `a`, `b` and `c` are those that are read, each by
the type of its bits: d.f32, a.u64. The last part of a name is the type; types without a
sign (b32) are read as unsigned, and `.rn`, which is how everything is rounded, is left
out. Here is what NVRTC emits for our kernels, in every type, and what it may come to.

Source: NVIDIA, "PTX ISA", version 9.0, sections 9.7 and 9.8.
"""

UNSIGNED = ("u16", "u32", "u64")
WHOLE = ("s16", "s32", "s64", *UNSIGNED)
FLOATS = ("f32", "f64")
OPERATORS = {"add": "+", "sub": "-", "mul": "*"}
BITWISE = {"and": "&", "or": "|", "xor": "^"}
COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
UNORDERED = "std::isnan(a.{t}) || std::isnan(b.{t})"

# Of what is not exact, the manual gives the largest error in units of the last place.
ODD = {
    "bra": "next = number;",
    "ret": "return false;",
    "bar.warp.sync": "if (d.u32 != ~0u) stop('B', 0); return true;",
    "bar.sync": "if (d.u32) stop('B', 0); return true;",
    "selp.pred": "d.u8 = c.u8 ? a.u8 : b.u8;",
    "mov.pred": "d.u8 = a.u8 != 0;",
    "not.pred": "d.u8 = !a.u8;",
    "and.pred": "d.u8 = a.u8 && b.u8;",
    "or.pred": "d.u8 = a.u8 || b.u8;",
    "xor.pred": "d.u8 = !a.u8 != !b.u8;",
    "pack.u64": "d.u64 = a.u32 | (uint64_t)b.u32 << 32;",
    "pack.u32": "d.u32 = a.u16 | (uint32_t)b.u16 << 16;",
    "low.u64": "d.u32 = (uint32_t)a.u64;",
    "high.u64": "d.u32 = a.u64 >> 32;",
    "low.u32": "d.u16 = (uint16_t)a.u32;",
    "high.u32": "d.u16 = a.u32 >> 16;",
    "rcp.f64": "d.f64 = 1 / a.f64;",
    "div.full.f32": "d.f32 = about(a.f32 / b.f32, 2, a.u32 ^ b.u32 << 1);",
    "ex2.approx.f32": "d.f32 = about((float)exp2((double)a.f32), 2, a.u32);",
    "ex2.approx.ftz.f32": "d.f32 = flushed(about((float)exp2((double)flushed(a.f32)), "
    "2, a.u32));",
    "rcp.approx.ftz.f32": "d.f32 = flushed(about(1 / flushed(a.f32), 1, a.u32));",
    "mul.ftz.f32": "d.f32 = flushed(flushed(a.f32) * flushed(b.f32));",
    "cvt.bf16.f32": "d.u16 = as_bfloat16(a.f32);",
    "cvt.f16.f32": "d.u16 = as_float16(a.f32);",
    "cvt.f32.f16": "d.f32 = from_float16(a.u16);",
    "cvt.rzi.s32.f32": "d.s32 = std::isnan(a.f32) ? 0 : (int32_t)"
    "std::clamp((double)a.f32, -2147483648.0, 2147483647.0);",
    "cvt.f32.bf16": "d.u32 = (uint32_t)a.u16 << 16;",
}


def all_instructions():
    """{name: what it does}"""
    found = dict(ODD)
    for t in (*WHOLE, *FLOATS):
        found |= {f"mov.{t}": f"d.{t} = a.{t};"}
        found |= {f"selp.{t}": f"d.{t} = c.u8 ? a.{t} : b.{t};"}
        for name, sign in COMPARISONS.items():
            found[f"setp.{name}.{t}"] = f"d.u8 = a.{t} {sign} b.{t};"
    for t in WHOLE:
        found |= whole(t)
    for t in FLOATS:
        found |= fractions(t)
    for t in UNSIGNED:
        found |= {f"{n}.{t}": f"d.{t} = a.{t} {s} b.{t};" for n, s in BITWISE.items()}
        found[f"bfi.{t}"] = f"d.{t} = inserted(a.{t}, b.{t}, c.u32, number);"
        found[f"not.{t}"] = f"d.{t} = ~a.{t};"
        found[f"cvta.{t}"] = found[f"cvta.to.{t}"] = f"d.{t} = a.{t};"
    for to in WHOLE:
        found |= {f"cvt.{to}.{t}": f"d.{to} = ({c(to)})a.{t};" for t in WHOLE}
    for to in FLOATS:  # from an integer, or a wider or narrower fraction: rounded once
        found |= {f"cvt.{to}.{t}": f"d.{to} = a.{t};" for t in (*WHOLE, *FLOATS)}
    for t in (*UNSIGNED, *FLOATS, "s16", "s32", "s64"):
        found |= memory(t)
    for t in ("u8", "s8"):
        found |= of_a_byte(t)
    return found


def whole(t):
    """Instructions on integers of one type."""
    bits, signed = int(t[1:]), t[0] == "s"
    found = {
        f"{n}.{t}": f"d.{t} = a.{t} {s} b.{t};"
        for n, s in OPERATORS.items()
        if n != "mul"
    }
    wide, wider = f"{t[0]}{2 * bits}", f"{'' if signed else 'u'}int{2 * bits}_t"
    if bits < 64:
        found[f"mul.wide.{t}"] = f"d.{wide} = ({wider})a.{t} * b.{t};"
    else:
        wider = "__int128" if signed else "unsigned __int128"
    shift = f"b.u32 < {bits} ? a.{t} >> b.u32 : {f'a.{t} < 0 ? -1 : 0' * signed or '0'}"
    return found | {
        f"mul.lo.{t}": f"d.{t} = a.{t} * b.{t};",
        f"mul.hi.{t}": f"d.{t} = (({wider})a.{t} * b.{t}) >> {bits};",
        f"mad.lo.{t}": f"d.{t} = a.{t} * b.{t} + c.{t};",
        f"neg.{t}": f"d.{t} = -a.{t};",
        f"abs.{t}": f"d.{t} = a.{t} < 0 ? -a.{t} : a.{t};",
        f"min.{t}": f"d.{t} = std::min(a.{t}, b.{t});",
        f"max.{t}": f"d.{t} = std::max(a.{t}, b.{t});",
        f"div.{t}": f"if (b.{t} == 0) stop('0', 0); d.{t} = a.{t} / b.{t};",
        f"rem.{t}": f"if (b.{t} == 0) stop('0', 0); d.{t} = a.{t} % b.{t};",
        f"shl.{t}": f"d.{t} = b.u32 < {bits} ? a.{t} << b.u32 : 0;",
        f"shr.{t}": f"d.{t} = {shift};",
    }


def fractions(t):
    """Instructions on float (f32) or double (f64)."""
    found = {f"{n}.{t}": f"d.{t} = a.{t} {s} b.{t};" for n, s in OPERATORS.items()}
    unordered = UNORDERED.format(t=t)
    for name, sign in COMPARISONS.items():  # with u they hold of NaN too
        found[f"setp.{name}u.{t}"] = f"d.u8 = {unordered} || a.{t} {sign} b.{t};"
    return found | {
        f"setp.ne.{t}": f"d.u8 = !({unordered}) && a.{t} != b.{t};",
        f"setp.num.{t}": f"d.u8 = !({unordered});",
        f"setp.nan.{t}": f"d.u8 = {unordered};",
        f"fma.{t}": f"d.{t} = std::fma(a.{t}, b.{t}, c.{t});",
        f"div.{t}": f"d.{t} = a.{t} / b.{t};",
        f"neg.{t}": f"d.{t} = -a.{t};",
        f"abs.{t}": f"d.{t} = std::fabs(a.{t});",
        f"min.{t}": f"d.{t} = std::fmin(a.{t}, b.{t});",
        f"max.{t}": f"d.{t} = std::fmax(a.{t}, b.{t});",
    }


def memory(t):
    """Loads and stores: `number` is what is added to the address in `a`."""
    found = {}
    for space in ("global", "local"):
        found[f"ld.{space}.{t}"] = f"{space}.load(a.u64 + number, d.{t});"
        found[f"st.{space}.{t}"] = f"{space}.store(a.u64 + number, b.{t});"
    found[f"ld.global.nc.{t}"] = f"global.load_constant(a.u64 + number, d.{t});"
    found[f"ld.shared.{t}"] = f"shared.load(a.u32 + number, d.{t});"
    found[f"st.shared.{t}"] = f"shared.store(a.u32 + number, b.{t});"
    for size in (2, 4, 8, 16):  # of a vector, whose parts follow
        found[f"aligned.{size}"] = f"if ((a.u64 + number) % {size}) stop('A', a.u64);"
    return found


def of_a_byte(t):
    """A byte has no register of its own: it fills the one that it comes into."""
    found = {}
    for space, address in (("global", "u64"), ("local", "u64"), ("shared", "u32")):
        place = f"a.{address} + number"
        found[f"ld.{space}.{t}"] = f"{c(t)} x; {space}.load({place}, x); d.s64 = x;"
        found[f"st.{space}.{t}"] = f"{space}.store({place}, b.u8);"
    for other in (*WHOLE, *FLOATS):
        found[f"cvt.{other}.{t}"] = f"d.{other} = ({c(t)})a.u8;"
    for other in WHOLE:
        found[f"cvt.{t}.{other}"] = f"d.s64 = ({c(t)})a.{other};"
    return found


def c(t):
    """A type of PTX in C."""
    return {"s": "int", "u": "uint"}[t[0]] + t[1:] + "_t"
