"""One token through RWKV-4: what is computed between its embedding and the logits."""

import numpy as np

from rwkv_book.labs.replacing import replaced
from rwkv_book.rwkv4 import minimal

WATCHED = "layer_norm", "project", "sigmoid", "wkv", "time_mix", "channel_mix"


def calls_of(token, state, params):
    """Logits (V,), new state, and what `minimal` called: (function, arguments, result).

    The numbers are those of `minimal.step` itself, which is listened to while it runs.
    """
    calls = []

    def listening(name):
        function = getattr(minimal, name)

        def heard(*arguments):
            result = function(*arguments)
            calls.append((name, arguments, result))
            return result

        return heard

    with replaced(minimal, **{name: listening(name) for name in WATCHED}):
        logits, new_state = minimal.step(token, state, params)
    return logits, new_state, calls


def through(token, state, params):
    """Logits (V,), and for each layer the vectors (C,) of its boxes, by name.

    Of time mixing: stream, norm_time, x_time, receptance, key, value, past (the average
    before the token), average, gated, after_time. Of channel mixing: norm_channel,
    x_channel, channel_receptance, hidden (F,), out, after_channel.
    """
    logits, _, calls = calls_of(token, state, params)
    layers, stream = [], calls[0][2]  # norm_in
    calls = iter(calls[1:])

    def following(name):
        called, arguments, result = next(calls)
        assert called == name, f"minimal calls {called} where {name} is expected"
        return arguments, result

    for x_time, num, den, _, x_channel in state:
        found = {"stream": stream, "x_time": x_time, "x_channel": x_channel}
        found["norm_time"] = following("layer_norm")[1]
        following("project")
        found["receptance"] = following("sigmoid")[1]
        found["key"], found["value"] = (following("project")[1] for _ in range(2))
        found["past"] = num / den
        found["average"] = following("wkv")[1][0]
        found["gated"] = found["receptance"] * found["average"]
        found["after_time"] = stream + following("time_mix")[1][0]
        found["norm_channel"] = following("layer_norm")[1]
        following("project")
        found["channel_receptance"] = following("sigmoid")[1]
        found["hidden"] = np.maximum(following("project")[1], 0) ** 2
        found["out"] = following("channel_mix")[1]
        found["after_channel"] = stream = found["after_time"] + found["out"]
        layers.append(found)
    return logits, layers
