"""Five networks that are compared: one size, one interface, one way to be judged."""

import json
import math
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from rwkv_book import attention, checkpoint, training
from rwkv_book.labs import contenders
from rwkv_book.labs.contenders import NAMES, build, local_average
from rwkv_book.rwkv4 import model
from rwkv_book.text import END_OF_TEXT, corpora

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import training_comparison

SIZE = model.Config(256, 2, 16)
CONTEXT = 24
every_contender = pytest.mark.parametrize("name", NAMES)


def near(found, expected, tolerance=1e-10):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def contender(name):
    """In float64, with random weights everywhere: zeros would hide what is wrong."""
    torch.manual_seed(0)
    network = build(name, SIZE, CONTEXT).double()
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    return network


def some_tokens(batch=2, length=CONTEXT):
    return torch.randint(256, (batch, length), generator=torch.manual_seed(1))


# One size.


@every_contender
@pytest.mark.parametrize("budget", ["tiny", "cpu", "gpu"])
def test_parameters_are_equal_within_two_percent_at_every_size(name, budget):
    budget = training_comparison.BUDGETS[budget]
    for layers, width in budget.sizes.values():
        size = model.Config(256, layers, width)
        wanted = contenders.parameters_of("rwkv", size)
        shape = contenders.shape(name, size, budget.length)
        assert abs(contenders.parameters_of(name, shape) / wanted - 1) <= 0.02


@every_contender
def test_what_is_built_has_the_parameters_that_were_counted(name):
    shape = contenders.shape(name, SIZE, CONTEXT)
    built = build(name, SIZE, CONTEXT)
    assert built.config == shape
    assert contenders.parameters(built) == contenders.parameters_of(name, shape)


def test_an_lstm_hears_its_first_token_from_the_start():
    """Its outputs differ from token to token more than with PyTorch's own weights."""
    tokens = torch.arange(256)[:, None]

    def spread(network):
        return network(tokens)[0].std(0).mean()

    torch.manual_seed(0)
    plain = contenders.make("lstm", contenders.shape("lstm", SIZE))
    assert spread(build("lstm", SIZE)) > 1.5 * spread(plain)


# One interface.


@every_contender
@torch.no_grad()
def test_a_token_at_a_time_gives_what_all_at_once_give(name):
    network, tokens = contender(name), some_tokens()
    whole, _ = network(tokens)
    state = None
    for t, token in enumerate(tokens.unbind(1)):
        logits, state = network.step(token, state)
        near(logits, whole[:, t])


@every_contender
@pytest.mark.parametrize("split", [1, 11, CONTEXT - 1])
@torch.no_grad()
def test_a_prefix_and_then_a_suffix_give_what_the_whole_gives(name, split):
    network, tokens = contender(name), some_tokens()
    whole, _ = network(tokens)
    before, state = network(tokens[:, :split])
    after, _ = network(tokens[:, split:], state)
    near(torch.cat([before, after], dim=1), whole)


@every_contender
@torch.no_grad()
def test_a_later_token_changes_no_earlier_logit(name):
    network, tokens = contender(name), some_tokens()
    logits, _ = network(tokens)
    tokens[:, 13] = (tokens[:, 13] + 1) % 256
    changed, _ = network(tokens)
    assert torch.equal(changed[:, :13], logits[:, :13])
    assert (changed[:, 13:] - logits[:, 13:]).abs().amax(-1).min() > 1e-9


# AFT-local, in blocks and with a state.


def slow_average(key, value, bias, state=None):
    """Every pair, as `attention.aft_local` does it, for one group after the other."""
    window, t = bias.shape[-1], torch.arange(key.shape[1])
    distance = (t[:, None] - t).clamp(0, window - 1)
    keys, values = key.chunk(len(bias), -1), value.chunk(len(bias), -1)
    open_gate = torch.inf  # sigmoid(inf) = 1
    return torch.cat(
        [
            attention.aft_local(
                torch.full_like(k, open_gate), k, v, b[distance], window, causal=True
            )
            for k, v, b in zip(keys, values, bias, strict=True)
        ],
        dim=-1,
    ), None


@pytest.mark.parametrize("length", [1, 2, 7, 8, 17, 64])
def test_blocks_give_what_every_pair_gives_with_gradients(length):
    generator = torch.manual_seed(length)
    exact = {"dtype": torch.float64, "generator": generator, "requires_grad": True}
    key, value = (torch.randn(2, length, 6, **exact) for _ in range(2))
    bias = torch.randn(3, 8, **exact)
    weights = torch.randn(2, length, 6, generator=generator, dtype=torch.float64)
    fast, slow = local_average(key, value, bias)[0], slow_average(key, value, bias)[0]
    near(fast, slow)
    inputs = key, value, bias
    fast, slow = (
        torch.autograd.grad((x * weights).sum(), inputs) for x in (fast, slow)
    )
    for found, expected in zip(fast, slow, strict=True):
        near(found, expected)


def test_keys_that_would_overflow_count_as_the_largest():
    key, value = 300 * torch.randn(2, 1, 50, 4, generator=torch.manual_seed(0))
    bias = torch.zeros(1, 8)
    largest = contenders.LARGEST_KEY
    found, _ = local_average(key, value, bias)
    expected, _ = slow_average(key.clamp(-largest, largest), value, bias)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_the_whole_aft_gives_what_every_pair_gives(monkeypatch):
    network, tokens = contender("aft"), some_tokens(length=2 * contenders.WINDOW + 7)
    fast, _ = network(tokens)
    monkeypatch.setattr(
        contenders,
        "local_average",
        lambda key, value, bias, state: (slow_average(key, value, bias)[0], key[:, :0]),
    )
    slow, _ = network(tokens)
    near(fast, slow)


def test_a_state_or_tokens_that_do_not_fit_are_refused():
    network = contender("aft")
    with pytest.raises(ValueError, match=r"tokens must be \(B,T\)"):
        network(torch.zeros(2, 0, dtype=torch.long))
    _, state = network(some_tokens(batch=2))
    with pytest.raises(ValueError, match=r"state must be \(B,L,W\+1,2C\)"):
        network(some_tokens(batch=1), state)


# One way to be judged.


@torch.no_grad()
def nats_after(network, read, byte):
    logits, _ = network(torch.tensor([list(read)]))
    return cross_entropy(logits[0, -1], torch.tensor(byte)).item()


@pytest.mark.parametrize("length", [1, 4, 5, 8, 9, 16, 30])
def test_a_byte_is_judged_by_what_stands_in_its_window(length):
    """One by one: the last window that has at least half of it before the byte."""
    network, half = contender("gpt-learned"), 4
    text = bytes(range(65, 65 + length))
    read = bytes([END_OF_TEXT]) + text
    found = contenders.nats_in_windows(network, text, 2 * half, batch=2)
    for i, byte in enumerate(text):
        start = max(0, i // half - 1) * half
        assert found[i].item() == pytest.approx(
            nats_after(network, read[start : i + 1], byte), abs=1e-5
        )


def test_the_loss_of_works_is_that_of_all_their_bytes():
    network = contender("lstm")
    works = {"long": b"to be or not " * 9, "short": b"aye"}
    loss, per_work = contenders.windowed_loss(network, works, context=8)
    bytes_of = {name: len(text) for name, text in works.items()}
    total = sum(per_work[name] * bytes_of[name] for name in works)
    assert loss == pytest.approx(total / sum(bytes_of.values()))
    assert set(per_work) == set(works)


def test_the_loss_by_position_is_a_mean_over_stretches():
    network, text = contender("rwkv"), bytes(range(33, 33 + 101))
    buckets = contenders.loss_by_position(network, {"a": text}, 50, stretches=2)
    assert [bucket[:2] for bucket in buckets] == [(1, 16), (17, 32), (33, 50)]
    first, second = (
        [nats_after(network, text[s : s + n], text[s + n]) for n in range(17, 33)]
        for s in (0, 50)
    )
    means = sum(first) / 16, sum(second) / 16
    assert buckets[1].nats == pytest.approx(sum(means) / 2, abs=1e-5)
    assert buckets[1].error == pytest.approx(abs(means[0] - means[1]) / 2, abs=1e-5)


def test_learned_positions_end_where_the_others_go_on():
    works = {"a": b"and so on; " * 20}
    for name in NAMES:
        buckets = contenders.loss_by_position(contender(name), works, 64, stretches=2)
        ended = [bucket.nats is None for bucket in buckets]
        assert ended == [False, *[name == "gpt-learned"] * 2]
    with pytest.raises(ValueError, match="lower longest"):
        contenders.loss_by_position(contender("rwkv"), works, longest=1000)


# The command that compares them.

MICRO = training_comparison.Budget(
    sizes={"smaller": (1, 8), "larger": (1, 16)},
    steps=4,
    batch=2,
    length=16,
    rates=(1e-3, 1e-2),
    tuning_steps=5,
    seeds=2,
    longest=32,
    stretches=2,
)
CORPUS = corpora.Corpus(
    "micro",
    {"one": b"the cat sat on the mat; " * 9},
    {"two": b"a rose is a rose. " * 6},
)


def comparison(folder, budget=MICRO):
    wkv = model.wkv_chunked
    return training_comparison.Comparison(budget, folder, CORPUS, wkv)


def results(units):
    """What the last of them reports, but for times."""
    *_, (tuned, rows) = units
    return tuned, [
        {key: value for key, value in row.items() if not re.search("second|time", key)}
        for row in rows
    ]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, results(comparison(folder).all_units())


def test_an_interrupted_comparison_goes_on_and_ends_in_the_same_numbers(
    tmp_path, monkeypatch, uninterrupted
):
    """Interrupted in the second of two networks that are compared."""
    real, calls = training_comparison.fit, []

    def counted(network, run, data):
        for loss in real(network, run, data):
            calls.append(run.seed)
            if calls.count(0) == MICRO.steps + 2:
                raise KeyboardInterrupt
            yield loss

    monkeypatch.setattr(training_comparison, "fit", counted)
    with pytest.raises(KeyboardInterrupt):
        results(comparison(tmp_path).all_units())
    assert (tmp_path / "smaller-rwkv-0.json").exists()
    assert not (tmp_path / "smaller-lstm-0.json").exists()
    finished = (tmp_path / "smaller-rwkv-0.json").read_bytes()
    calls.clear()
    calls.extend([0] * 1000)  # no second interruption
    assert results(comparison(tmp_path).all_units()) == uninterrupted[1]
    assert (tmp_path / "smaller-rwkv-0.json").read_bytes() == finished
    units = len(NAMES) * len(MICRO.sizes)
    assert calls.count(0) == 1000 + (units - 1) * MICRO.steps
    assert training_comparison.TUNING_SEED not in calls


def test_a_folder_of_another_budget_is_refused(uninterrupted):
    other = replace(MICRO, steps=5)
    with pytest.raises(SystemExit, match="another budget"):
        results(comparison(uninterrupted[0], other).all_units())


def test_a_row_holds_every_seed_its_mean_and_its_error(uninterrupted):
    _, (tuned, rows) = uninterrupted
    assert [(row["size"], row["contender"]) for row in rows] == [
        (size, name) for size in MICRO.sizes for name in NAMES
    ]
    for row in rows:
        one, other = row["held_out_loss"]["seeds"]
        assert one != other
        assert row["held_out_loss"]["mean"] == pytest.approx((one + other) / 2)
        assert row["held_out_loss"]["standard_error"] == pytest.approx(
            abs(one - other) / 2
        )
        assert row["learning_rate"] == min(
            tuned[row["contender"]], key=tuned[row["contender"]].get
        )
        assert (row["by_position"][0] is None) == (row["size"] == "smaller")


def test_all_contenders_read_the_same_bytes_in_the_same_order(monkeypatch, tmp_path):
    read = {}

    def watched(network, optimizer, inputs, targets, run, step):
        read.setdefault(type(network), []).append((run.seed, step, inputs, targets))
        return torch.tensor(1.0)

    monkeypatch.setattr(training_comparison, "training_step", watched)
    compared = comparison(tmp_path)
    for name in NAMES:
        training_comparison.train(
            name, MICRO.run("larger", 1e-3, 1), compared.data, compared.wkv, "cpu"
        )
    first, *others = read.values()
    first = first[: MICRO.steps]
    for other in others:
        for one, two in zip(first, other[: MICRO.steps], strict=True):
            assert one[:2] == two[:2]
            assert torch.equal(one[2], two[2]) and torch.equal(one[3], two[3])


# What was trained with it, and comes with the book.


@every_contender
def test_what_is_saved_is_read_back_rounded_to_float16(name, tmp_path):
    torch.manual_seed(0)
    network, path = build(name, SIZE, CONTEXT), tmp_path / "one.safetensors"
    contenders.save(network, name, path, {"command": "none"})
    found = contenders.read(path)
    assert found.config == network.config
    for key, weights in network.state_dict().items():
        assert torch.equal(found.state_dict()[key], weights.half().float()), key
    assert checkpoint.metadata(path)["command"] == "none"


def test_a_contender_that_is_none_is_named():
    with pytest.raises(ValueError, match="'mamba'"):
        contenders.load("mamba")


def test_counting_is_judged_by_what_followed_in_the_training_text():
    """After `a` came b three times of four, and one part in 256 of one more."""
    data = training.join({"one": b"abababac"})
    loss = training_comparison.counting_loss(data, {"two": b"ab"}, before=1)
    first = (1 + 1 / 256) / (1 + 1)  # a text begins once, with an a
    wanted = -math.log((3 + 1 / 256) / (4 + 1)) - math.log(first)
    assert loss == pytest.approx(wanted / 2)


# What comes with the book.

CPU = training_comparison.BUDGETS["cpu"]


@every_contender
def test_a_shipped_contender_is_the_first_seed_at_the_larger_size(name):
    known, network = contenders.metadata(name), contenders.load(name)
    run = training.Run(**json.loads(known["run"]))
    assert known["contender"] == name
    assert run == CPU.run("larger", run.learning_rate, seed=0)
    size = model.Config(training.VOCABULARY, run.layers, run.width)
    assert network.config == contenders.shape(name, size, run.length)
    assert contenders.path(name).stat().st_size < 2.1 * contenders.parameters(network)


def test_the_shipped_rwkv_is_in_the_published_layout():
    report = checkpoint.inspect(contenders.path("rwkv"))
    assert (report.version, report.dtypes, report.deviations) == ("4", ("float16",), ())


@pytest.fixture(scope="module")
def held_out():
    """Needs the corpus: a network, once."""
    try:
        return corpora.load("shakespeare").validation
    except corpora.CorpusError as error:
        pytest.skip(f"the corpus can't be had here: {error}")


@every_contender
def test_a_shipped_contender_is_worth_what_its_file_says(name, held_out):
    """On the beginning of a work that it never saw."""
    stated = r"([\d.]+) nats per byte, the first (\d+) of (\w+)"
    loss, length, work = re.match(stated, contenders.metadata(name)["excerpt"]).groups()
    excerpt = {work: held_out[work][: int(length)]}
    found, _ = contenders.windowed_loss(contenders.load(name), excerpt)
    assert found == pytest.approx(float(loss), abs=1e-4)


# What was recorded.

RESULTS = Path(training_comparison.__file__).parent / "results"
RECORDS = [
    json.loads(path.read_text(encoding="utf-8"))
    for path in sorted(RESULTS.glob("training-comparison-*.json"))
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["device"])
def test_a_record_is_of_the_command_as_it_is_now(record):
    plan = json.dumps(asdict(training_comparison.BUDGETS[record["budget"]]))
    assert record["plan"] == json.loads(plan)
    for row in record["rows"]:
        layers, width = record["plan"]["sizes"][row["size"]]
        size = model.Config(training.VOCABULARY, layers, width)
        length = record["plan"]["length"]
        shape = contenders.shape(row["contender"], size, length)
        assert row["shape"] == asdict(shape)
        assert row["parameters"] == contenders.parameters_of(row["contender"], shape)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["device"])
def test_a_record_has_every_contender_size_and_seed(record):
    plan, rows = record["plan"], record["rows"]
    pairs = {(row["size"], row["contender"]) for row in rows}
    assert pairs == {(size, name) for size in plan["sizes"] for name in NAMES}
    for row in rows:
        losses = row["held_out_loss"]["seeds"]
        assert len(set(losses)) == len(row["training_loss"]) == plan["seeds"] >= 3
        assert row["held_out_loss"] == training_comparison.over_seeds(losses)


@every_contender
def test_the_shipped_contenders_are_those_of_a_record(name):
    stated = float(contenders.metadata(name)["held-out loss"].split()[0])
    recorded = [
        row["held_out_loss"]["seeds"][0]
        for record in RECORDS
        for row in record["rows"]
        if (record["budget"], row["size"], row["contender"]) == ("cpu", "larger", name)
    ]
    assert any(loss == pytest.approx(stated, abs=6e-5) for loss in recorded)
