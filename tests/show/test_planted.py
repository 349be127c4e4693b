"""A name that was said: the page plants a reader's own as the lab does, and draws it as
Python does."""

import json

import numpy as np
import pytest
import torch
from helpers.javascript import STATIC, javascript
from helpers.published import random_tensors
from safetensors.numpy import save_file

from rwkv_book import checkpoint
from rwkv_book.labs import recall
from rwkv_book.rwkv4.model import RWKV
from rwkv_book.show import planted

MODULES = [STATIC / "live" / "planted.js"]
MODULES += [STATIC / "playground" / f"{name}.js" for name in ("rwkv", "weights")]
LOG_P = np.random.default_rng(3).normal(-20, 2, size=(2, 8, 8)).tolist()
NAMES = ["BE", "MA", "CE", "DE", "FE", "GE", "HE", "IE"]
SCENE = recall.scene() | {"file": "model.safetensors", "bytes": 7_110_056}
BETWEEN = ["\nDUKE.\nWho comes?\n", "\nFOOL.\nThe sea, my lord.\n"]
ASK = """
  const { readFileSync } = process.getBuiltinModule("node:fs");
  const params = weights.load(Uint8Array.from(readFileSync(path)).buffer);
  const first = rwkv.initialState(params);
  const ask = (own, time) => {
    const names = planted.namesWith(own, data);
    const most = planted.stepsOf(names, time, data);
    const work = planted.asked(names, time, data, first);
    let next = work.next(), steps = 0;
    for (; !next.done; steps++) next = work.next(rwkv.step(...next.value, params));
    return { rows: next.value, gains: planted.gained(next.value), steps, most };
  };
"""


def in_page(path, data, code, given):
    """What `code` makes of `own`, `time` and `ask`, for each of `given`."""
    about = f"const path = {json.dumps(str(path))}, data = {json.dumps(data)};"
    return javascript(f"(given) => {{ {about} {ASK} {code} }}", given, MODULES)


def plant(network, name, between):
    """ln p of all names in all texts after the last passage, by the lab."""
    return recall.plant(network, name, between)[-1].log_p.numpy()


def nothing_planted(name, time):
    raise AssertionError("no model is needed")


FIGURE = planted.figure(NAMES, [0, 1234], LOG_P, nothing_planted, SCENE)


@pytest.mark.parametrize("time", [0, 1])
def test_the_page_plants_a_name_as_the_lab_does(time):
    """With the model that the page fetches, in the scene that the page has."""
    path = checkpoint.shipped()
    (found,) = in_page(path, FIGURE.data, "return ask(...given)", [["RUTH", time]])
    log_p = plant(RWKV.load(path), "Ruth", recall.SPEECHES[:time])
    np.testing.assert_allclose(found["rows"], log_p, atol=0.01)
    gains = planted.gained(log_p.tolist())
    np.testing.assert_allclose(found["gains"], gains[0], atol=0.01)
    assert found["steps"] == found["most"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A random model in a file, and as the lab takes it."""
    path = tmp_path_factory.mktemp("small") / "model.safetensors"
    tensors = random_tensors(layers=2, width=32, hidden=64, vocabulary=256)
    save_file({name: tensor.numpy() for name, tensor in tensors.items()}, path)
    return path, RWKV.load(path)


@pytest.mark.parametrize("name", ["Io", "MALVORN", "Malvornistel", "Kelst"])
def test_moving_on_going_back_and_another_name_are_what_reading_anew_gives(small, name):
    path, network = small
    data = FIGURE.data | {"between": BETWEEN}
    given = [[["ANNA", 1], *([name.upper(), time] for time in (1, 2, 0, 2))]]
    code = "return given.map((each) => ask(...each))"
    ((_, *found),) = in_page(path, data, code, given)
    for each, time in zip(found, (1, 2, 0, 2), strict=True):
        wanted = plant(network, name, BETWEEN[:time])
        np.testing.assert_allclose(each["rows"], wanted, atol=2e-3)
        assert each["steps"] == each["most"]
    onwards, again = found[1]["steps"], found[3]["steps"]
    assert onwards - again == 8 * len(BETWEEN[1])  # and what had been read is kept


def test_the_reader_s_name_is_the_first_of_those_that_the_lab_plants():
    names = ["Io", "malvorn", "BRATH", "DELPHINORAST", "ZOE"]
    upper = [name.upper() for name in names]
    code = "return planted.namesWith(given, data)"
    found = in_page(checkpoint.shipped(), FIGURE.data, code, upper)
    assert found == [recall.names_with(name) for name in names]


LATER = "{ show() {}, isWanted: () => true, progress() {}, pressed: false }"


def drawn(values, data=FIGURE.data):
    code = f"each => planted.planted(...each, {LATER})"
    (found,) = javascript(code, [[values, data]], MODULES)
    return found


@pytest.mark.parametrize("time", [0, 1])
@pytest.mark.parametrize("name", ["BE", "MA", " ie "])
def test_names_that_come_with_the_page_need_no_model(name, time):
    found = drawn({"name": name, "time": time})
    assert found == FIGURE.picture(name=name, time=time).html()
    assert found.count(", said</th>") == 1


@pytest.mark.parametrize("name", ["", "  ", "A", "Anne-Marie", "Zoë", "<b>", "A" * 13])
def test_what_is_no_name_is_told_so_in_a_sentence(name):
    def refuse(name, time):
        return recall.plant(None, name, BETWEEN[:time])

    figure = planted.figure(NAMES, [0, 1234], LOG_P, refuse, SCENE)
    found = drawn({"name": name, "time": 1})
    assert found == figure.picture(name=name, time=1).html()
    assert "2 to 12 letters, A to Z." in found and "<b>" not in found


def test_any_other_name_is_offered_the_model_with_its_size():
    found = drawn({"name": "Ruth", "time": 0})
    assert found.endswith('<button type="button">Load the model (7.1 MB)</button></p>')


def test_a_kernel_plants_any_other_name(small):
    def plant_another(name, time):
        return recall.names_with(name), plant(small[1], name, BETWEEN[:time]).tolist()

    figure = planted.figure(NAMES, [0, 1234], LOG_P, plant_another, SCENE)
    gains = planted.gained(plant(small[1], "RUTH", BETWEEN[:1]).tolist())[0]
    shown = figure.picture(name="Ruth", time=1)
    assert "RUTH, said 1,234 bytes ago" in shown.alt
    for name, gain in zip(recall.names_with("Ruth"), gains, strict=True):
        assert name in shown.html() and planted.written(round(gain, 2)) in shown.html()


def test_a_planted_name_gains_what_recall_says_it_does():
    found = planted.gained(LOG_P[0])
    gains = recall.Recall(0, torch.tensor(LOG_P[0])).gains
    np.testing.assert_allclose(np.diag(found), gains, atol=1e-5)


def test_a_name_that_nobody_said_is_compared_where_nobody_said_it():
    """Text 0 makes all names likelier by 1 nat, and text 2 its own name by 5."""
    log_p = [[-9.0] * 4, [-10.0] * 4, [-10.0, -10.0, -5.0, -10.0], [-10.0] * 4]
    found = planted.gained(log_p)
    assert found[0] == pytest.approx([1, 1, 1, 1])
    assert found[2][2] == pytest.approx(5 - 1 / 3)
    assert found[1][2] == pytest.approx(-0.5)
    with pytest.raises(ValueError, match="three names"):
        planted.gained([[1, 2], [3, 4]])
