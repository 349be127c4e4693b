"""The text of some kernels: to read part by part, to change, to compile.

`hardware.h` is put before it, so that one text is right for a GPU and for a CPU.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

HARDWARE = Path(__file__).with_name("hardware.h").read_text("utf-8")
BEGINNING = r"(DEVICE [^(]*\b{name}\(|KERNEL\({name},|struct {name} )"


@dataclass(frozen=True, eq=False)
class Source:
    """Some kernels, and what messages call them and advise `instead`.

    What is compiled from a source that is `kept` stays in the cache, else nowhere.
    `constants`, pairs of a name and an integer, are known before the text: what is
    compiled is for these. What stands `on_gpu` follows the text where a GPU gets it.
    """

    text: str
    name: str
    instead: str
    hardware: str = HARDWARE
    kept: bool = False
    constants: tuple = ()
    on_gpu: str = ""

    @cached_property
    def whole(self):
        """What a compiler gets. Its messages count the lines of either text."""
        known = "".join(
            f"constexpr int {name} = {number};\n" for name, number in self.constants
        )
        return (
            f'#line 1 "hardware.h"\n{self.hardware}\n{known}'
            f'#line 1 "{self.name}"\n{self.text}'
        )

    @cached_property
    def whole_on_gpu(self):
        """What a GPU's compiler gets."""
        return self.whole + self.on_gpu

    @cached_property
    def parameters(self):
        """{kernel: the number of its parameters}, on a CPU and on a GPU"""
        text = re.sub(r"//.*", "", self.text + self.on_gpu)
        kernels = re.findall(r"^KERNEL\((\w+), ([^)]*)\)", text, re.MULTILINE)
        return {name: len(parameters.split(",")) for name, parameters in kernels}

    def part(self, name):
        """The function, kernel or struct `name`, with the comment above it.

        ValueError when there is not exactly one.
        """
        lines = self.text.splitlines()
        pattern = re.compile(BEGINNING.format(name=re.escape(name)))
        found = [number for number, line in enumerate(lines) if pattern.match(line)]
        if len(found) != 1:
            raise ValueError(
                f"{self.name} has {len(found)} parts called {name!r}, not one"
            )
        begin = end = found[0]
        while lines[begin - 1].startswith("//"):
            begin -= 1
        if not lines[end].endswith(("}", "};")):
            while not lines[end].startswith("}"):
                end += 1
        return "\n".join(lines[begin : end + 1])

    def number(self, name):
        """The integer that stands in the text as `constexpr int name = ...;`"""
        pattern = rf"^constexpr int {re.escape(name)} = (\d+);"
        found = re.findall(pattern, self.text + self.on_gpu, re.MULTILINE)
        if len(found) != 1:
            raise ValueError(
                f"{self.name} must have one line `constexpr int {name} = ...;` with a "
                f"number, but has {len(found)}"
            )
        return int(found[0])

    def warps(self, kernel):
        """How many warps of a block own the same 32 channels: TOGETHER, or one."""
        return self.number("TOGETHER") if f"KERNEL({kernel}," in self.on_gpu else 1

    def check(self, kernel, arguments):
        """TypeError when a kernel would get more or fewer arguments than it takes.

        A compiled function can't tell, and would read what lies beside them.
        """
        if kernel not in self.parameters:
            raise TypeError(f"{self.name} has no KERNEL({kernel}, ...)")
        wanted, got = self.parameters[kernel], len(arguments)
        if wanted != got:
            raise TypeError(
                f"{kernel} of {self.name} takes {wanted} arguments, got {got}"
            )


def replaced(text, old, new):
    """The text with one place changed; ValueError if it is not one."""
    if text.count(old) != 1:
        raise ValueError(f"{old!r} is in the text {text.count(old)} times, not once")
    return text.replace(old, new)
