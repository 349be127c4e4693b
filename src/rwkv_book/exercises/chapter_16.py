"""Exercises of chapter 16: a member's step to read, to name, to write; an automaton."""

import numpy as np

from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    NameQuestion,
    NumberQuestion,
    Wrong,
    result,
    returned,
    wrong_unless,
)
from rwkv_book.family.suffixes import followed

pose(
    "16.1",
    NumberQuestion(
        right=-0.6,
        mistakes={
            -0.75: "-0.75 is 1 - b. The whole table fades as well, by a.",
            0.8: "0.8 is the largest: it belongs to all directions but the key's.",
            -1.4: "-1.4 is a times -b. Along the key 1 - b of it is left.",
            -0.95: "-0.95 is a - b: what is taken out has faded, so a multiplies b.",
            0.6: "Mind the sign: 1 - b is below zero.",
            -0.4: "-0.4 is 1 - a b: the 1 in the parenthesis is multiplied by a too.",
            0.2: "0.2 is a rate of 0.75. Here b is 1.75: Olmo's rates go up to 2.",
        },
        hint="Along the key a row is multiplied by 1 - b, and all of it by a.",
        praise="What stands under the key changes its sign, and shrinks to 0.6.",
        absolute=1e-9,
    ),
)

pose(
    "16.2",
    NameQuestion(
        right=("Gated DeltaNet", "Gated Delta", "GDN"),
        mistakes={
            "DeltaNet": "DeltaNet has no decay: here the whole table is multiplied by "
            "g first.",
            "Kimi": "Kimi's decay is one number for each key channel; this g is one "
            "number.",
            "Mamba": "Mamba-2 fades with one number a head, too, and takes nothing "
            "out.",
            "RWKV-7": "RWKV-7 looks up before it fades, and has rates for each key "
            "channel.",
            "Comba": "Comba looks up under a key of its own, p; here it is k both "
            "times.",
            "Gated DeltaNet-2": "Gated DeltaNet-2 has two gates, on keys and on "
            "values, in the place of one rate.",
            "DeltaProduct": "DeltaProduct would write several times for one token.",
            "GLA": "GLA takes nothing out. Look at what stands in the parentheses.",
            "Gated linear attention": "It takes nothing out. Look at what stands in "
            "the parentheses.",
            "RetNet": "RetNet's number is always the same, and it takes nothing out.",
            "RWKV": "RWKV-4 to 6 take nothing out; RWKV-7 looks up before it fades.",
            "Delta rule": "That is the second line's idea. Which member fades first?",
        },
        hint="What fades: by one number, or by one a key? What is taken out?",
        praise="One decay a head, taken out at one rate a head, looked up after "
        "fading.",
    ),
)


def kimi_token(size=5, values=3, seed=0):
    """log_decay (N,), key (N,), value (M,), rate: one token of one head."""
    random = np.random.default_rng(seed)
    key = random.normal(size=size)
    log_decay = -random.uniform(0.05, 2, size)
    rate = random.uniform(0.2, 0.9)
    return log_decay, key / np.linalg.norm(key), random.normal(size=values), rate


def applied(table, decay, value, key, remove, replace):
    """The one equation, for one head."""
    return table * decay + np.outer(table @ remove, replace) + np.outer(value, key)


@exercise("16.3")
def hand_over(my_kimi):
    log_decay, key, value, rate = kimi_token()
    found = my_kimi(log_decay.copy(), key.copy(), value.copy(), rate)
    wrong_unless(
        found is not None,
        "The function returns nothing: return remove, replace and what is written.",
    )
    wrong_unless(
        isinstance(found, tuple | list) and len(found) == 3,
        "It should return three arrays: remove, replace, and what is written.",
    )
    remove, replace, written = map(np.asarray, found)
    returned(remove, key.shape, "remove")
    returned(replace, key.shape, "replace")
    returned(written, value.shape, "what is written")
    table = np.random.default_rng(1).normal(size=(len(value), len(key)))
    decay = np.exp(log_decay)
    step = table * decay
    right = step - rate * np.outer(step @ key, key) + rate * np.outer(value, key)
    made = applied(table, decay, written, key, remove, replace)
    mistakes = hand_over_slips(table, log_decay, key, value, rate)
    result(
        made,
        right,
        mistakes,
        "The table is not Kimi's. Begin with a rate of 1, where nothing may be left "
        "under the key but the value.",
        np.allclose,
    )
    return "What it looks up has faded, so the decay stands in `remove`."


def hand_over_slips(table, log_decay, key, value, rate):
    """The tables that the usual mistakes make, each with its sentence."""
    decay, write = np.exp(log_decay), rate * np.outer(value, key)
    step = table * decay

    def without(looked_up, at):
        return step - np.outer(table @ looked_up, at) + write

    yield (
        without(key, rate * key),
        "You look up in the table before it fades: that is RWKV-7's way. Kimi looks "
        "up after, so each channel of the key comes with its decay.",
    )
    yield (
        step + np.outer(table @ (decay * key), rate * key) + write,
        "What is found is added once more: one of remove and replace needs a minus.",
    )
    yield (
        without(log_decay * key, rate * key),
        "You use the logarithm of the decay where the decay itself belongs.",
    )
    yield (
        without(key / decay, rate * key),
        "The decay is exp(log_decay): a minus in front of it makes it grow.",
    )
    yield (
        without(decay * key, key),
        "All that is found goes: the rate is missing in what is taken out.",
    )
    yield (
        without(decay * key, rate * rate * key),
        "The rate is there twice in what is taken out.",
    )
    yield (
        step - rate * np.outer(step @ key, key) + np.outer(value, key),
        "The value comes in full: it should come at the rate as well.",
    )
    yield (
        without(decay * key, rate * decay * key),
        "The decay is in remove and in replace: only what is looked up has faded.",
    )
    yield (
        without(key, rate * decay * key),
        "The decay is in replace. It belongs into remove: it is the table that you "
        "look into that has faded.",
    )
    yield step + write, "Nothing is taken out."


@exercise("16.4")
def foretell(my_said):
    texts = ("abcab", "abab", "xayxazxa", "abcbdab", "abracadabra", "aaaa")
    for text in texts:
        said = my_said(text)
        wrong_unless(said is not None, f"It says nothing after {text!r}.")
        right = followed(text)[-1][0]
        if said == right:
            continue
        for mistake, sentence in foretelling_slips(text):
            wrong_unless(said != mistake, f"After {text!r}: {sentence}")
        raise Wrong(f"After {text!r} it says {said!r}, and it should say {right!r}.")
    for text in ("a", "abc"):
        said = my_said(text)
        wrong_unless(
            said is None,
            f"After {text!r} there is nothing to say: the last letter was never there "
            f"before. You say {said!r}; return None.",
        )
    return "The longest ending that was there before, and what followed it last."


def foretelling_slips(text):
    """What the usual mistakes say after a text."""
    for length in range(len(text) - 1, 0, -1):
        at = text.find(text[-length:])
        if at < len(text) - length:
            yield text[at + length], "you take the first time, and not the last."
            break
    at = text.rfind(text[-1], 0, -1)
    if at >= 0:
        yield text[at + 1], "you take the shortest ending, and not the longest."
    said = followed(text)
    ending = text[len(text) - said[-1][1] :]
    at = text.rfind(ending, 0, -1)
    yield text[at + len(ending) :], "you say all that followed: one letter is enough."
    yield ending, "you say the ending itself, and not what followed it."
    yield text[-1], "you say the last letter itself, and not what followed."
    yield max(sorted(set(text)), key=text.count), "you say the most frequent letter."


@exercise("16.5")
def unforetold(answer):
    wrong_unless(isinstance(answer, str), "It should be a text.")
    wrong_unless(
        set(answer) <= {"a", "b"}, "Only the letters a and b: with more it is easy."
    )
    wrong_unless(len(answer) >= 30, f"It has {len(answer)} letters; make it 30.")
    said = [None, *(token for token, _ in followed(answer))]
    for place, letter in enumerate(answer):
        wrong_unless(
            said[place] != letter,
            f"It foretells letter {place + 1}, {letter!r}: after {answer[:place]!r} "
            "it says just that.",
        )
    return "Not one letter foretold, and the rule behind it takes two lines."


pose(
    "16.6",
    NumberQuestion(
        right=19,
        mistakes={
            18: "One of the twelve names is chapter 13's table of facts, which is not "
            "one of our eighteen.",
            12: "There are eleven that have one; how many have none?",
            11: "Those have one. How many have none?",
            30: "That is all of them.",
        },
        hint="Five decays, two ways to take out, three rates; move all the switches, "
        "or count `switches.NAMES`.",
        praise="11 of 30 are taken.",
    ),
)
