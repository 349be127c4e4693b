"""A `__global__` function of CUDA on a CPU: thread by thread, every access looked at.

What it sees is whether a kernel is right: whether it stays inside its arrays, whether
two threads meet in one number, whether its result depends on who comes first, since the
threads run one after the other, in a random order. It also counts the sectors of 32
bytes that a warp touches at the same time, in which a GPU's memory travels. It sees no
time. A kernel that breaks everything breaks a process of its own.

Kernels with shared memory or barriers need threads that run together: not here.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

BEFORE = Path(__file__).with_name("warps.h").read_text("utf-8")
WARP, SECTOR = 32, 32  # threads that go in step; bytes that travel together
PATIENCE = 20  # seconds for a kernel to end
MOST = 1_000_000  # accesses of all threads together
INSTEAD = "read on without: what it would print stands in the page."
BOUNDS = r"(?:__launch_bounds__\s*\([^)]*\)\s*)?"
HEAD = rf"__global__\s+void\s+{BOUNDS}(\w+)\s*\(([^)]*)\)\s*\{{"
POINTER = r"\b(const\s+)?float(\s+const)?\s*\*\s*(?:(?:__restrict__|const)\b\s*)*"
INTEGERS = {"int", "unsigned", "long", "long long", "size_t"}
NOT_HERE = {  # what readers add, and what to do about it
    r"```": "the lines of ``` belong to a page: take them away",
    r"#\s*include": "an #include finds no file: take it away, a kernel needs none",
    r"#\s*(?!define|undef|if|el|endif|pragma)": "a comment begins with //, not with #",
    r"<<<|\bmain\s*\(": "the launch comes from here: take <<< >>> away, and what is "
    "around it",
    r"\btemplate\b": "a template is no kernel yet: write its types",
    r"\bstatic\s+__global__": "a static kernel can't be launched: take static away",
    r"\bstatic\s+(?!__device__|inline|const)": "a static variable would be one for all "
    "threads, which come in any order: take one of the thread's own",
    r"__(?:device|constant)__(?![^({;]*constexpr)[^({;]*[=;]": "a variable outside of "
    "the kernel would be one for all threads: write constexpr if it never changes",
    r"\b(?:printf|cout)\b": "nobody sees here what a kernel prints: take it away, and "
    "write into an array what you want to see",
    r"\bassert\s*\(": "an assert stops more than a thread: take it away",
    r"\b(?:new|malloc)\b": "a thread has no memory to ask for: what it keeps goes into "
    "variables",
    r"\b(?:exit|abort)\s*\(": "a thread ends with return",
    r"\w\[[^](]*,": "in C++ x[b, t, c] is x[c]: one index counts the numbers of all "
    "texts, tokens and channels",
}
ADVICE = {  # by what g++ complains of
    "unary '&'": ": write x + i for &x[i]",
    "address of rvalue": ": write out + i for &out[i]",
    "not declared in this scope$": ": give it a type where it begins, as in int c = 0",
    r"call to 'm(ax|in)\(": ": it wants two of one type, as in max(y, 0.f)",
    "'(dim3|uint3)'": ": take one of its parts, as in threadIdx.x",
}
TOGETHER = "__shared__", "__syncthreads", "__syncwarp", "__shfl", "atomicAdd"
SENTENCES = {  # by what warps.h calls a fault
    "reads": "reads {array}[{at}], which is not there: {array} has {size} numbers",
    "writes": "writes {array}[{at}], which is not there: {array} has {size} numbers",
    "twice": "writes {array}[{at}], and so does {other}",
    "race": "and {other} meet in {array}[{at}]: one writes what the other reads",
    "endless": "does not come to an end",
}


class Fault(RuntimeError):
    """What a kernel may not do: its `kind`, the `array`, where (`at`), and `threads`.

    `threads` are pairs (block, thread in it): who did it, and whom it met, or None.
    """

    def __init__(self, sentence, kind, array="", at=0, threads=()):
        super().__init__(sentence)
        self.kind, self.array, self.at, self.threads = kind, array, at, threads


class Launched(NamedTuple):
    """After a launch: the arrays, and the sectors that warps touched, by name.

    `least` is how few sectors hold as many numbers as each warp touched at a time, and
    `numbers` how many those were.
    """

    arrays: dict
    sectors: dict
    least: dict
    numbers: dict


def launch(text, arguments, threads, block=64, seed=0, patience=PATIENCE):
    """Run the one `__global__` function of a text, with at least so many threads.

    `arguments` are NumPy arrays in float32 for pointers to float, and numbers for the
    rest, in the order of its parameters. Blocks are whole, so there may be a few more
    threads. Fault where the kernel does what it may not, or does not compile, or does
    not end within `patience` seconds; ValueError for arguments that don't fit;
    RuntimeError without g++.
    """
    name, parameters = signature(text)
    check_arguments(name, parameters, arguments)
    compiler = shutil.which("g++")
    if compiler is None:
        raise RuntimeError(f"There is no g++ to run a kernel with: {INSTEAD}")
    arrays = {
        parameter: np.ascontiguousarray(argument)
        for (parameter, kind), argument in zip(parameters, arguments, strict=True)
        if kind.endswith("*")
    }
    grid = -(-threads // block)
    with tempfile.TemporaryDirectory() as folder:
        program, numbers, told = (Path(folder, n) for n in ("a.out", "numbers", "told"))
        numbers.write_bytes(b"".join(array.tobytes() for array in arrays.values()))
        source = whole(text, name, parameters, arguments, (grid, block, seed))
        compile_with(compiler, source, program)
        ended = run(program, numbers, told, patience)
        lines = told.read_text().split("\n")[:-1] if told.exists() else []
        if not lines or ended:
            raise Fault(*how_it_ended(ended, patience))
        if not lines[0].startswith("done"):
            raise as_fault(lines[0].split(), arrays, block)
        flat = np.fromfile(numbers, np.float32)
    names = [line.split()[1] for line in lines]
    counts = zip(*(map(int, line.split()[2:]) for line in lines), strict=True)
    ends = np.cumsum([array.size for array in arrays.values()])[:-1]
    after = zip(arrays.items(), np.split(flat, ends), strict=True)
    return Launched(
        {array: found.reshape(before.shape) for (array, before), found in after},
        *(dict(zip(names, each, strict=True)) for each in counts),
    )


def signature(text):
    """The name of the `__global__` function, and [(parameter, type)].

    Fault where there is not exactly one, or where it is not for this machine.
    """
    plain = re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL)
    for pattern, sentence in NOT_HERE.items():
        if re.search(pattern, plain):
            raise Fault(sentence, "head")
    heads = re.findall(HEAD, plain)
    if len(heads) != 1:
        raise Fault(
            f"there should be one `__global__ void name(...) {{`, and {len(heads)} are",
            "head",
        )
    opened, closed = plain.count("{"), plain.count("}")
    if opened != closed:
        raise Fault(f"each {{ needs its }}: it has {opened} and {closed}", "head")
    for word in TOGETHER:
        if word in plain:
            raise Fault(
                f"{word} needs threads that run together, and here each runs alone: "
                "write it without",
                "together",
            )
    name, listed = heads[0]
    return name, [parameter_of(part) for part in listed.split(",") if part.strip()]


def parameter_of(part):
    """(name, type) of a parameter: `const float*`, `float*`, or a type of numbers."""
    if found := re.fullmatch(rf"\s*{POINTER}(\w+)\s*", part):
        return found[3], "const float*" if found[1] or found[2] else "float*"
    *words, name = part.replace("unsigned int", "unsigned").split()
    kind = " ".join(word for word in words if word != "const")
    if kind not in INTEGERS | {"float"} or not name.isidentifier():
        raise Fault(
            f"the parameter `{part.strip()}` is of no type known here: write float* "
            "or const float* for an array, and int for a number",
            "head",
        )
    return name, kind


def check_arguments(name, parameters, arguments):
    """ValueError unless the arguments are what the parameters ask for."""
    if len(parameters) != len(arguments):
        raise ValueError(
            f"{name} takes {len(parameters)} arguments, got {len(arguments)}"
        )
    for (parameter, kind), argument in zip(parameters, arguments, strict=True):
        array = isinstance(argument, np.ndarray)
        if array != kind.endswith("*") or (array and argument.dtype != np.float32):
            wanted = (
                "an array of float32" if kind.endswith("*") else f"a number, {kind}"
            )
            raise ValueError(f"{parameter} should be {wanted}, got {type(argument)}")


def whole(text, name, parameters, arguments, launched):
    """The text of a program that runs the kernel once."""
    sizes, given = [], []
    for (parameter, kind), argument in zip(parameters, arguments, strict=True):
        if kind.endswith("*"):
            pointer = "ConstFloats" if kind.startswith("const") else "Floats"
            given.append(f"{pointer}{{{len(sizes)}}}")
            sizes.append(f'{{"{parameter}", {argument.size}}}')
        else:
            given.append(f"({kind}){argument!r}")
    watched = re.sub(POINTER, lambda m: pointer_type(m) + " ", text)
    numbers = ", ".join(map(str, (*launched, MOST)))
    return (
        f'{BEFORE}\n#line 1 "kernel.cu"\n{watched}\n#line 1 "main"\n'
        f"int main(int, char** a) {{ return play(a[1], a[2], {{{', '.join(sizes)}}}, "
        f"{numbers}, [] {{ {name}({', '.join(given)}); }}); }}\n"
    )


def pointer_type(found):
    return "ConstFloats" if found[1] or found[2] else "Floats"


def compile_with(compiler, source, program):
    """Make the program; Fault with what the compiler says first."""
    command = [compiler, "-std=c++17", "-O1", "-w", "-x", "c++", "-", "-o", program]
    done = subprocess.run(
        command,
        input=source.encode(),
        capture_output=True,
        check=False,
        env=os.environ | {"LC_ALL": "C"},  # ADVICE is by its English words
    )
    if done.returncode:
        complaint = done.stderr.decode(errors="replace")
        found = re.search(r"kernel\.cu:(\d+):\d+: (?:fatal )?error: (.*)", complaint)
        sentence = f"line {found[1]}: {found[2]}" if found else complaint[:300]
        more = [ADVICE[words] for words in ADVICE if re.search(words, sentence)]
        raise Fault("".join([sentence, *more]), "compiler")


def run(program, numbers, told, patience):
    """The program's exit status, negative for a signal."""
    try:
        done = subprocess.run(
            [program, numbers, told],
            capture_output=True,
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -signal.SIGALRM
    return done.returncode


def how_it_ended(status, patience):
    """(sentence, kind) of a process that told nothing."""
    if status == -signal.SIGALRM:
        return f"it did not end within {patience} seconds", "endless"
    if status == -signal.SIGFPE:
        return "it divides an integer by 0", "divides"
    return "it broke the process that it ran in", "crash"


def as_fault(words, arrays, block):
    """The Fault that warps.h told in words."""
    kind, array, at, thread, other = words[0], words[1], *map(int, words[2:])
    threads = [divmod(int(number), block) for number in (thread, other)]
    one, two = (f"thread {place} of block {number}" for number, place in threads)
    sentence = SENTENCES[kind].format(
        array=array, at=at, size=arrays[array].size, other=two
    )
    return Fault(f"{one} {sentence}", kind, array, at, threads)
