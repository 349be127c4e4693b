"""Recall compares a name with itself: where it was told, and where another one was."""

import pytest
import torch

from rwkv_book import rnn, transformer
from rwkv_book.attention import KvCache
from rwkv_book.labs import recall
from rwkv_book.rwkv4.model import RWKV, Config

NAMES = ["ANNA", "BERT", "CLEO"]
PASSAGES = ["some words.\n", "and some more, which nobody asked for.\n"]


def networks():
    torch.manual_seed(0)
    made = {
        "rwkv": RWKV(Config(256, 2, 16)),
        "lstm": rnn.LSTM(rnn.Config(256, 2, 16)),
        "gpt": transformer.GPT(transformer.Config(256, 2, 16, 2)),
    }
    for network in made.values():
        for weights in network.requires_grad_(False).parameters():
            weights += 0.2 * torch.randn_like(weights)
    return made


NETWORKS = networks()


def told(name):
    return f"I am {name}.\n"


def log_p(network, text, question, counted):
    """ln p of the last `counted` bytes of a question, the text read in one go."""
    tokens = torch.tensor([[0, *text.encode(), *question.encode()]])
    logits, _ = network(tokens[:, :-1])
    each = logits.log_softmax(-1).gather(2, tokens[:, 1:, None])[0, -counted:]
    return each.sum().item()


@pytest.mark.parametrize("kind", NETWORKS)
def test_recall_is_what_reading_every_text_anew_gives(kind):
    network = NETWORKS[kind]
    found = recall.recall(network, NAMES, told, PASSAGES, lambda name: f"\n{name}.")
    assert [each.tokens for each in found] == [0, 12, 51]
    for each, passages in zip(found, ("", PASSAGES[0], "".join(PASSAGES)), strict=True):
        table = [
            [log_p(network, told(a) + passages, f"\n{b}.", 5) for b in NAMES]
            for a in NAMES
        ]
        right = sum(table[i][i] for i in range(3)) / 3
        others = sum(table[i][j] for i in range(3) for j in range(3) if i != j) / 6
        assert each.told == pytest.approx(right, abs=1e-3)
        assert each.untold == pytest.approx(others, abs=1e-3)
        best = sum(
            max(range(3), key=row.__getitem__) == i for i, row in enumerate(table)
        )
        assert each.named == pytest.approx(best / 3)


def parrot(tokens, state=None):
    """Remembers everything: says what followed the byte wherever it read it before."""
    read = tokens if state is None else torch.cat([state, tokens], dim=1)
    logits = torch.zeros(*tokens.shape, 256)
    for row, text in enumerate(read.tolist()):
        for place in range(tokens.shape[1]):
            now = len(text) - tokens.shape[1] + place
            for before in range(now):
                if text[before] == text[now]:
                    logits[row, place, text[before + 1]] = 5.0
    return logits, read


def test_a_perfect_memory_is_seen_as_one():
    found = recall.recall(parrot, NAMES, told, PASSAGES, lambda name: f"am {name}")
    for each in found:
        assert each.told > each.untold + 5 and each.named == 1


def test_names_that_can_not_be_compared_are_refused():
    for names in (["ANNA", "BO"], ["ANNA", "ANNA"], ["ANNA"], []):
        with pytest.raises(ValueError, match="two names or more, that differ and have"):
            recall.recall(NETWORKS["rwkv"], names, told, [], lambda name: name)


def test_a_name_of_yours_is_planted_among_seven_as_long():
    found = recall.plant(NETWORKS["rwkv"], "Kelst", ["some words.\n"])
    names = ["KELST", *(name[:5] for name in recall.POOL[:7])]
    told, asked = recall.introduction, recall.question
    right = recall.recall(NETWORKS["rwkv"], names, told, ["some words.\n"], asked)
    for one, other in zip(found, right, strict=True):
        assert torch.equal(one.log_p, other.log_p) and one.tokens == other.tokens
        assert one.gains.mean().item() == pytest.approx(one.told - one.untold, abs=1e-4)
    one, _ = recall.plant(NETWORKS["rwkv"], "MALV", ["some words.\n"])
    assert one.log_p.shape == (8, 8)  # and Malv is there once


@pytest.mark.parametrize("name", ["", "A", "Anne-Marie", "Zoë", "A" * 13])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match="2 to 12 letters"):
        recall.plant(NETWORKS["rwkv"], name)


def test_scenes_are_cut_at_lines_and_share_nothing():
    text = b"".join(b"\n\n%d.\nTo be, or not.\n" % n for n in range(40))
    scenes = list(recall.scenes_of(text, 3, marks=(5, 90)))
    assert len(scenes) == 3
    for scene in scenes:
        assert scene[0].startswith("\n\n") and all(part[-1] == "\n" for part in scene)
        assert len(scene[0] + scene[1]) >= 90 and "".join(scene).encode() in text
    with pytest.raises(ValueError):
        list(recall.scenes_of(text, 3, marks=(5, 900)))


def test_repeating_keeps_the_kind_of_a_state():
    tensor = torch.arange(4).view(2, 2)
    repeated = recall.repeat((KvCache(tensor, tensor + 10),), 3)
    assert isinstance(repeated, tuple) and isinstance(repeated[0], KvCache)
    assert repeated[0].value.tolist() == [[10, 11]] * 3 + [[12, 13]] * 3


@pytest.mark.parametrize("asked", [lambda name: name, lambda name: "who is it?"])
def test_questions_that_tell_nothing_apart_are_refused(asked):
    """The first byte is read and not asked for, so it has to be the same."""
    with pytest.raises(ValueError, match="begin alike, and then differ"):
        recall.recall(NETWORKS["rwkv"], NAMES, told, [], asked)
