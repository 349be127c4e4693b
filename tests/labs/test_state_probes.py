"""The command that asks states with linear maps, and its record."""

import pytest
import state_probes
import torch
from helpers.few_reviews import few_reviews

from rwkv_book import results


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    split = few_reviews(tmp_path_factory.mktemp("reviews"), held_out=100)
    return state_probes.tasks(split, tiny=True)


@pytest.mark.parametrize("task", ["verdict", "kind"])
def test_no_text_is_on_two_sides(known, task):
    texts, labels, turns = known[task]
    assert len(texts) == len(labels)
    for turn in turns:
        sides = [{texts[n] for n in places} for places in turn]
        assert all(sides)
        assert sum(map(len, sides)) == len(set().union(*sides))


def test_pieces_are_of_one_length_in_lower_case_and_evenly_of_all_kinds(known):
    texts, labels, turns = known["kind"]
    assert {len(text) for text in texts} == {state_probes.SHORT}
    assert all(text == text.lower() for text in texts)
    for _, _, tested in turns:
        counts = torch.bincount(labels[tested])
        assert len(counts) == len(state_probes.KINDS) and len(set(counts.tolist())) == 1


def test_works_take_turns(known):
    tested = torch.cat([turn[2] for turn in known["kind"][2]])
    assert sorted(tested.tolist()) == list(range(len(known["kind"][0])))


def test_a_whole_state_and_each_part_of_it_are_asked(known):
    row = state_probes.row({"task": "kind", "reader": "RWKV-7"}, known)
    layers, parts = 4, ["x_time", *(f"head {n}" for n in range(4)), "x_channel"]
    names = {f"{layer} {part}" for layer in range(layers) for part in parts}
    assert set(row["right"]) == names | {"whole", "labels shuffled"}
    assert all(len(turns) == 3 for turns in row["right"].values())


@pytest.mark.parametrize("reader", [r for r in state_probes.READERS if "bag" in r])
def test_every_bag_answers_every_text(known, reader):
    row = state_probes.row({"task": "kind", "reader": reader}, known)
    assert set(row["each"]) <= set("01")
    assert len(row["each"]) == len(known["kind"][0])


def rows_of(task):
    rows = results.of("state-probes")[-1]["rows"]
    return {row["reader"]: row for row in rows if row["task"] == task}


@pytest.mark.parametrize("task, chance", [("verdict", 0.5), ("kind", 0.25)])
def test_the_record_has_all_readers_and_its_controls_know_nothing(task, chance):
    rows = rows_of(task)
    assert set(rows) == set(state_probes.READERS)
    for reader in state_probes.MODELS:
        for share in rows[reader]["right"]["labels shuffled"]:
            assert share == pytest.approx(chance, abs=0.08)
