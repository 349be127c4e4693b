"""The blocks of a teacher's plan, `### 0:30–1:15 · Title`, and their minutes."""

import re

SPAN = re.compile(r"^### (\d):(\d\d)–(\d):(\d\d) · (.+)$", re.MULTILINE)


def blocks_of(plan, part):
    """[(title, first minute, last minute, text)] of a part `## ...` of a plan."""
    text = re.split(r"^## ", plan.split(f"\n## {part}\n")[1], flags=re.M)[0]
    spans, blocks = list(SPAN.finditer(text)), []
    ends = [span.start() for span in spans[1:]] + [len(text)]
    for span, end in zip(spans, ends, strict=True):
        *clock, title = span.groups()
        one, two, three, four = map(int, clock)
        about = text[span.end() : end]
        blocks.append((title, 60 * one + two, 60 * three + four, about))
    return blocks
