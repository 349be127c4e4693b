"""What a cell shows, sentence by sentence: pictures, tables, lines, sliders.

Each function takes what is shown and `say`, which gives a sentence in another language,
and returns the same with the words exchanged. Numbers, formulas and code are never
asked about; a `say` that writes down what it is asked finds what there is to translate.
"""

import html as escapes
import json
import re

TAG = re.compile(r"(<[^>]*>)")
SPOKEN = re.compile(r'\b(aria-label|title|alt|placeholder)="([^"]*)"')
LIVE = re.compile(r'\bdata-live="([^"]*)"')
LINES = re.compile(r"<text[^>]*>[^<]*</text>(?:\s*<text[^>]*>[^<]*</text>)+")
LINE = re.compile(r"(<text[^>]*>)([^<]*)(</text>)")
SILENT = ("style", "script", "pre", "code")
NOT_WORDS = re.compile(r"`[^`]*`|\$[^$]*\$")
# In the data of a live figure: what its program compares, and nobody reads.
COMPARED = {"figure", "kind", "name", "settings", "constant", "small", "start"}
NAME = re.compile(r"[\w.]*[_.]\w+|[a-z]+\d+\w*|\W*\w\W*")


def has_words(text):
    """Whether there is something to translate: words outside formulas and code."""
    plain = NOT_WORDS.sub("", text)
    return bool(re.search(r"[A-Za-z]{2}", plain)) and not NAME.fullmatch(plain.strip())


def asked(text, say):
    return say(text) if has_words(text) else text


def lines(text, say):
    """Printed lines."""
    return "".join(asked(line, say) for line in text.splitlines(keepends=True))


def table(markdown, say):
    """A table in Markdown; code, which comes in the same form, stays as it is."""
    if markdown.startswith("```"):
        return markdown
    return "\n".join(row(line, say) for line in markdown.split("\n"))


def row(line, say):
    """A line of a table, cell by cell; any other line as one sentence."""
    if not line.startswith("|"):
        return asked(line, say)
    cells = re.split(r"(?<!\\)\|", line)
    return "|".join(
        f" {asked(cell.strip(), say)} " if cell.strip() else cell for cell in cells
    ).strip()


def html(text, say):
    """A picture or another element of a page: its texts, labels and data."""
    shown, end = [], 0
    for lines_of_one in LINES.finditer(text):
        shown += [elements(text[end : lines_of_one.start()], say)]
        shown += [together(lines_of_one[0], say)]
        end = lines_of_one.end()
    return "".join([*shown, elements(text[end:], say)])


def elements(text, say):
    shown, silent = [], None
    for part in TAG.split(text):
        if part.startswith("<"):
            name = re.match(r"</?(\w*)", part)[1]
            if name in SILENT and not part.endswith("/>"):
                silent = None if part.startswith("</") else silent or name
            shown.append(labels(part, say))
        elif silent or not part.strip():
            shown.append(part)
        else:
            shown.append(escaped(part, say))
    return "".join(shown)


def escaped(part, say, quote=False):
    """A text of a page, in which & < > are written as such."""
    plain = escapes.unescape(part)
    said = asked(plain, say)
    return part if said == plain else escapes.escape(said, quote=quote)


def labels(tag, say):
    """A tag with the attributes that readers hear, or a program's words."""
    tag = SPOKEN.sub(lambda m: f'{m[1]}="{escaped(m[2], say, quote=True)}"', tag)
    return LIVE.sub(lambda m: f'data-live="{live(m[1], say)}"', tag)


def live(data, say):
    """The controls and the data of a live figure."""
    told = words_in(json.loads(escapes.unescape(data)), say)
    return escapes.escape(json.dumps(told, ensure_ascii=False))


def words_in(data, say, key=""):
    if isinstance(data, str):
        return asked(data, say)
    if isinstance(data, list) and key == "options":
        return [[asked(text, say), value] for text, value in data]
    if isinstance(data, list):
        return [words_in(each, say, key) for each in data]
    if isinstance(data, dict):
        return {
            key: each if key in COMPARED else words_in(each, say, key)
            for key, each in data.items()
        }
    return data


def together(texts, say):
    """Lines of one text in a figure: said as one sentence, then broken again."""
    parts = LINE.findall(texts)
    english = " ".join(escapes.unescape(words) for _, words, _ in parts)
    said = asked(english, say)
    if said == english:
        return texts
    widest = max(len(escapes.unescape(words)) for _, words, _ in parts)
    broken = iter(folded(said, widest, len(parts)))
    shown = [
        f"{start}{escapes.escape(next(broken, ''), quote=False)}{end}"
        for start, _, end in parts
    ]
    return "\n".join(shown)


def width(text):
    """In Latin letters; a Chinese character is as wide as two."""
    return sum(2 if ord(letter) > 0x2E7F else 1 for letter in text)


def folded(text, widest, count):
    """A text in at most `count` lines, as even as its punctuation allows."""
    least = -(-width(text) // count)
    widest = max(least, min(widest, width(text)))
    lines, line = [], ""
    for piece in re.findall(r"[\x21-\x7e]+|.", text):
        full = line and width(line + piece) > widest
        if full and len(lines) < count - 1 and piece not in "，。：；、）":
            lines.append(line.strip())
            line = ""
        line += piece
    return [*lines, line.strip()]


def bundle(forms, say):
    """An output in all its forms, {MIME type: content}."""
    kinds = {"text/html": html, "text/markdown": table, "text/plain": lines}
    return {
        kind: kinds[kind](content, say) if kind in kinds else content
        for kind, content in forms.items()
    }


def widget(model, say):
    """The state of a widget, as a notebook stores it."""
    state = dict(model)
    for name in ("description", "placeholder"):
        if state.get(name):
            state[name] = asked(state[name], say)
    if "_options_labels" in state:
        state["_options_labels"] = [asked(x, say) for x in state["_options_labels"]]
    if state.get("_model_name") == "HTMLModel" and state.get("value"):
        state["value"] = html(state["value"], say)
    return state
