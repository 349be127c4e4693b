"""A text in PTX as lists of numbers, which a machine can run.

A program sees one file of registers: what a thread is told (SPECIAL), its parameters,
the constants of the text, and then its own. Whatever has a meaning that is not known
here is an error: nothing is left out.
"""

import re
import struct
from dataclasses import dataclass, field

import numpy as np

from tools.ptx.instructions import all_instructions

INSTRUCTIONS = all_instructions()
CODES = {name: code for code, name in enumerate(INSTRUCTIONS)}
SPECIAL = ("%tid.x", "%ntid.x", "%ctaid.x", "%nctaid.x")
OTHER_AXES = {"tid": 0, "ntid": 1, "ctaid": 0, "nctaid": 1}  # threads stand in a line
FIXED = {f"%{name}.{axis}": x for name, x in OTHER_AXES.items() for axis in "yz"}
FIXED["WARP_SZ"] = 32
REGISTER = r"%([a-z]{1,2}\d*|SPL?|temp)"  # as NVRTC names them
LOCAL = 1 << 60  # where a thread's own memory begins: no array lies there
SHARED = 1 << 20  # in a space of its own, what the threads of a block share
FIELDS = ["code", "guard", "d", "a", "b", "c", "line"]
INSTRUCTION = np.dtype([("number", "<i8"), *((name, "<i4") for name in FIELDS)], True)

SPACES = ("global", "local", "shared")
ACCESS = ("ld.param", *(f"{x}.{y}" for x in ("ld", "st") for y in SPACES))
TOGETHER = r"\.shared \.align (\d+) \.b8 (\w+)\[(\d+)\]"
ENTRY = r"\.visible \.entry (\w+)\((.*?)\)\s*(?:\.\w+ [\d, ]+\s*)*\{"
GUARD, PLACE = r"@(!?)(%\w+)\s+(.*)", r"\[(%?\w+)(?:\+(-?\d+))?\]"
HALVES = r"mov\.b(32|64)\s+\{\s*(%\w+),\s*(%\w+)\s*\},\s*(\S+)"


@dataclass
class Program:
    """One kernel. `registers` are what they hold at first, where `given`."""

    name: str
    parameters: int
    instructions: np.ndarray = None
    registers: np.ndarray = None
    given: np.ndarray = None
    local: int = 0  # bytes of a thread's own memory
    shared: int = 0  # and of what its block shares
    places: dict = field(default_factory=dict)  # {operand: register}


def programs(text):
    """{name: Program} of a text in PTX. ValueError where something is not known."""
    text = re.sub(r"//[^\n]*", "", text)
    found = {}
    for entry in re.finditer(ENTRY, text, re.DOTALL):
        end = entry.end() + body_length(text[entry.end() :])
        line = text.count("\n", 0, entry.end()) + 1
        parameters = re.findall(r"\.param \.(\w+)", entry[2])
        if not set(parameters) <= {"u32", "u64"}:
            raise ValueError(f"{entry[1]} has other parameters than u32 and u64")
        program = Program(entry[1], len(parameters))
        body = text[entry.end() : end]
        translate(program, body, line, shared_places(program, text, body))
        found[entry[1]] = program
    return found


def shared_places(program, text, body):
    """{name: address} of the arrays in shared memory that a kernel's body names."""
    places = {}
    for align, name, size in re.findall(TOGETHER, text):
        if re.search(rf"\b{name}\b", body):
            program.shared += -program.shared % int(align)
            places[name] = SHARED + program.shared
            program.shared += int(size)
    return places


def body_length(text):
    """How far it is to the brace that closes what was opened before the text."""
    depth = 1
    for brace in re.finditer(r"[{}]", text):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    raise ValueError("a brace is not closed")


def translate(program, body, line, constants):
    """Fill in a program from the text between its braces; `constants` have names."""
    constants |= FIXED
    program.places = {name: number for number, name in enumerate(SPECIAL)}
    for number in range(program.parameters):
        program.places[f"{program.name}_param_{number}"] = len(SPECIAL) + number
    rows, labels = [], {}
    for number, statement in statements(body, line):
        if label := re.fullmatch(r"(\$\w+):", statement):
            labels[label[1]] = len(rows)
        elif depot := re.fullmatch(r"\.local .*b8\s+(\w+)\[(\d+)\]", statement):
            program.local, constants[depot[1]] = int(depot[2]), LOCAL
        elif statement[0] != ".":
            rows += [(*row, number) for row in meaning(program.name, statement)]
    table = np.zeros(len(rows), INSTRUCTION)
    for row, (name, operands, added, guard, number) in zip(table, rows, strict=True):
        if name not in CODES:
            raise ValueError(f"line {number}: no meaning is known of {name}")
        row["code"], row["line"] = CODES[name], number
        row["number"] = labels[added] if name == "bra" else added
        sign, register = guard
        row["guard"] = sign * (1 + place(program, register, constants)) if sign else 0
        for slot, operand in operands.items():
            row[slot] = place(program, operand, constants)
    program.instructions = table
    finish(program, constants)


def statements(body, line):
    """(line, statement) one by one; declarations and labels among them."""
    for number, text in enumerate(body.split("\n"), line):
        for statement in re.split(r";|(?<=:)\s|^\s*\{(?=\s|$)|\}\s*$", text):
            if statement and statement.strip():
                yield number, statement.strip()


def place(program, operand, constants):
    """The number of the register that an operand stands for."""
    if operand not in program.places:
        if operand not in constants and not re.fullmatch(REGISTER, operand):
            constants[operand] = constant(operand)
        program.places[operand] = len(program.places)
    return program.places[operand]


def constant(text):
    """64 bits of a number as it stands in PTX. ValueError if it is none."""
    if re.fullmatch(r"0[fd][0-9A-Fa-f]{8,16}", text):
        return int(text[2:], 16)
    if re.fullmatch(r"-?\d+", text):
        return int(text) % 2**64
    raise ValueError(f"an operand is not known: {text!r}")


def finish(program, constants):
    """What is in the registers when a thread begins."""
    size = len(program.places)
    program.registers, program.given = np.zeros(size, "<u8"), np.zeros(size, "u1")
    program.given[: len(SPECIAL) + program.parameters] = 1
    for operand, number in program.places.items():
        if operand in constants:
            program.registers[number] = constants[operand]
            program.given[number] = 1


def meaning(kernel, statement):
    """Rows (name, operands, number, guard) of a statement: a vector has many."""
    guard = (0, None)
    if found := re.fullmatch(GUARD, statement):
        guard, statement = (-1 if found[1] else 1, found[2]), found[3]
    if halves := re.fullmatch(HALVES, statement):
        bits, low, high, whole = halves.groups()
        names = (("low", low), ("high", high))
        return [(f"{n}.u{bits}", {"d": to, "a": whole}, 0, guard) for n, to in names]
    name, _, rest = statement.replace("\t", " ").partition(" ")
    operands = re.findall(r"\{[^}]*\}|\[[^]]*\]|[^,\s]+", rest)
    name = normal(name)
    if name == "bra":
        return [(name, {}, operands[0], guard)]
    if name.startswith(ACCESS):
        return access(name, operands, guard)
    if name.startswith("mov") and operands[1][0] == "{":
        low, high = operands[1].strip("{}").replace(" ", "").split(",")
        operands, name = [operands[0], low, high], name.replace("mov", "pack")
    number = int(operands.pop()) if name.startswith("bfi") else 0
    return [(name, dict(zip("dabc", operands, strict=False)), number, guard)]


def normal(name):
    """The name of an instruction as `instructions` has it."""
    parts = [re.sub(r"^b(8|16|32|64)$", r"u\1", part) for part in name.split(".")]
    if parts[0] == "cvta":
        parts = [part for part in parts if part not in SPACES]
    return ".".join(part for part in parts if part not in ("rn", "uni"))


def access(name, operands, guard):
    """A load or a store, as many as the vector has parts."""
    load = name.startswith("ld")
    address, given = operands[::-1] if load else operands
    found = re.fullmatch(PLACE, address)
    if name.startswith("ld.param"):
        return [
            (name.replace("ld.param", "mov"), {"d": given, "a": found[1]}, 0, guard)
        ]
    number = int(found[2] or 0)
    size = int(re.search(r"\d+$", name)[0]) // 8
    parts = given.strip("{}").replace(" ", "").split(",")
    plain, rows = re.sub(r"\.v[24]", "", name), []
    if len(parts) > 1:
        rows = [(f"aligned.{size * len(parts)}", {"a": found[1]}, number, guard)]
    for i, part in enumerate(parts):
        slots = {"d" if load else "b": part, "a": found[1]}
        rows.append((plain, slots, number + i * size, guard))
    return rows


def bits_of(x):
    """The 32 bits of a float, as PTX writes them: for tests that write PTX."""
    return "0f" + struct.pack(">f", x).hex().upper()
