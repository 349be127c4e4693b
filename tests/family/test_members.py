"""Every member of the family is what others have published of it, its table too."""

import pytest
import torch
from helpers.others import naive, of_transformers, turned
from torch.nn.functional import normalize

from rwkv_book.family import members, portraits
from rwkv_book.family.equation import FORMS, table_recurrent
from rwkv_book.rwkv4.wkv import wkv_recurrent
from rwkv_book.rwkv5.wkv import wkv as wkv5
from rwkv_book.rwkv6.wkv import wkv as wkv6
from rwkv_book.rwkv7.wkv import FASTEST
from rwkv_book.rwkv7.wkv import wkv as wkv7

B, H, N, M = 2, 3, 8, 5
LENGTHS = (1, 2, 16, 31)
SCALE = N**0.5  # most of theirs divide the query by it
CLOSE = 2e-5  # they compute in float32


pytestmark = pytest.mark.usefixtures("seed")


def random(*shape):
    return torch.randn(shape, dtype=torch.float64)


def tokens(length, size=N):
    return random(B, length, H, size)


def asked(length):
    """receptance, key, value of `length` tokens."""
    return tokens(length), tokens(length), tokens(length, M)


def fading(*shape):
    return -torch.exp(random(*shape))


def rates(*shape):
    return random(*shape).sigmoid()


def table(rows=M):
    return random(B, H, rows, N)


def close(found, wanted, tolerance=CLOSE):
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        scale = max(1, other.abs().max().item())
        torch.testing.assert_close(
            one.double(), other.double(), rtol=0, atol=tolerance * scale
        )


def their_table(state):
    """Ours is value by key, theirs key by value."""
    return state.mT.float().contiguous()


at_every_length = pytest.mark.parametrize("length", LENGTHS)


@at_every_length
def test_linear_attention(length):
    receptance, key, value = asked(length)
    receptance, key = receptance.exp(), key.exp()
    state = table(M + 1)
    sums = their_table(state[:, :, :M]), state[:, None, :, M].float()
    wanted, (after, weights) = naive(
        "linear_attn/naive.py"
    ).naive_recurrent_linear_attn(
        *(receptance, key, value),
        initial_state=sums,
        output_final_state=True,
        normalize=True,
    )
    out, found = members.linear_attention(receptance, key, value, state=state)
    close([out, found[:, :, :M]], [wanted, after.mT], 1e-4)
    close([found[:, :, M]], [weights[:, 0]])


@at_every_length
def test_rwkv_4_as_transformers_has_it(length):
    log_rate, bonus, value = random(N), random(N), random(B, length, N)
    key = random(B, length, N)
    old = random(B, N, 2, 1).abs()
    exponent = torch.zeros(B, N)
    wanted, (num, den, top) = of_transformers("rwkv", "rwkv_linear_attention_cpu")(
        *(log_rate, bonus, key, value),
        state=[*old[..., 0].float().unbind(-1), exponent],
    )
    found, state = members.rwkv_4(key, value, -log_rate.exp(), bonus, state=old)
    after = torch.stack([num, den], dim=-1) * top.exp()[..., None]
    close([found, state[..., 0]], [wanted, after])


@at_every_length
def test_rwkv_4_as_chapter_4_has_it(length):
    rate, bonus = random(N).exp(), random(N)
    key, value = random(B, length, N), random(B, length, N)
    wanted, _ = wkv_recurrent(rate, bonus, key, value)
    close([members.rwkv_4(key, value, -rate, bonus)[0]], [wanted], 1e-10)


@at_every_length
def test_retnet(length):
    receptance, key, value = asked(length)
    wanted = naive("retention/naive.py").naive_retention(
        *turned(SCALE * receptance, key, value)
    )
    close([members.retnet(receptance, key, value)[0]], turned(wanted))


@at_every_length
@pytest.mark.parametrize("layer", [0, 2])
def test_lightning_as_minimax_has_it(length, layer):
    """Their layer between its projections and its norm; keys as wide as values."""
    from transformers import MiniMaxConfig
    from transformers.models.minimax.modeling_minimax import MiniMaxLightningAttention

    sizes = {"hidden_size": H * N, "num_attention_heads": H, "head_dim": N}
    config = MiniMaxConfig(num_hidden_layers=3, block_size=4, **sizes)
    theirs, seen = MiniMaxLightningAttention(config, layer), {}
    theirs.qkv_proj.register_forward_hook(
        lambda *given: seen.update(qkv=theirs.act_fn(given[-1]))
    )
    theirs.norm.register_forward_pre_hook(lambda _, given: seen.update(out=given[0]))
    with torch.no_grad():
        theirs(random(B, length, H * N).float(), (None, None), None)
    parts = seen["qkv"].double().view(B, length, H, 3 * N).split(N, dim=-1)
    found, _ = members.lightning(*parts, depth=layer / (2 + 1e-5))
    close([found.flatten(2)], [seen["out"]])


@at_every_length
def test_mamba_as_transformers_has_it(length):
    receptance, key = random(2, B, length, N)
    value, step = random(2, B, length, H)
    step, log_rate = step.exp(), random(H, N)
    wanted, after = of_transformers("mamba", "mamba_selective_scan")(
        *(x.mT.float() for x in (value, step)),
        -log_rate.exp().float(),
        *(x.mT.float() for x in (key, receptance)),
        return_last_state=True,
    )
    found, state = members.mamba(receptance, key, value, step, log_rate)
    close([found, state[:, :, 0]], [wanted.mT, after])


@at_every_length
def test_mamba_2_as_transformers_has_it(length):
    """In chunks of 8, with one key for all heads, and a table that goes on."""
    receptance, key = random(2, B, length, 1, N)
    value, step, log_rate = tokens(length, M), random(B, length, H).exp(), random(H)
    state = table()
    wanted, after = of_transformers("mamba2", "mamba2_chunk_scan")(
        *(value.float(), step.float(), -log_rate.exp().float()),
        *(key.float(), receptance.float(), 8),
        initial_states=state.float(),
        return_final_states=True,
    )
    each = [x.repeat_interleave(H, dim=2) for x in (receptance, key)]
    found = members.mamba_2(*each, value, step, log_rate, state=state)
    close(found, [wanted, after])


@at_every_length
def test_mlstm_as_transformers_has_it(length):
    """Their step, token by token; their table is divided by its largest exponential."""
    from transformers.models.xlstm import modeling_xlstm as xlstm

    receptance, key, value = asked(length)
    gates = random(2, B, length, H)
    state = [torch.zeros(B, H, N, M), torch.zeros(B, H, N), torch.zeros(B, H, 1)]
    wanted = []
    for t in range(length):
        at = [x[:, t].float() for x in (receptance, key, value)]
        both = [gate[:, t, :, None].float() for gate in gates]
        out, state = xlstm.mlstm_recurrent_step_native(*at, *both, *state, eps=0.0)
        wanted.append(out)
    found, after = members.mlstm(receptance / SCALE, key, value, *gates)
    cells, weights, top = (x.double() for x in state)
    cells, weights = cells * top[..., None].exp(), weights * top.exp()
    both = torch.cat([cells.mT, weights[:, :, None]], dim=2)
    close([found, after], [torch.stack(wanted, dim=1), both], 2e-4)


@at_every_length
def test_gla_and_hgrn_2(length):
    receptance, key, value = asked(length)
    log_decay, state = fading(B, length, H, N), table()
    theirs = naive("gla/naive.py").naive_recurrent_gla
    known = {"initial_state": their_table(state), "output_final_state": True}
    wanted, after = theirs(SCALE * receptance, key, value, log_decay, **known)
    found = members.gla(receptance, key, value, log_decay, state=state)
    close(found, [wanted, after.mT])
    room = 1 - log_decay.exp()
    wanted, after = theirs(SCALE * receptance, room, value, log_decay, **known)
    found = members.hgrn_2(receptance, value, log_decay, state=state)
    close(found, [wanted, after.mT])


@at_every_length
@pytest.mark.parametrize("version", ["5", "6"])
def test_rwkv_5_and_6(length, version):
    receptance, key, value = asked(length)
    shape = (H, N) if version == "5" else (B, length, H, N)
    log_decay, bonus, state = fading(*shape), random(H, N), table()
    wanted, after = naive("rwkv6/recurrent_naive.py").naive_recurrent_rwkv6(
        *turned(receptance, key, value, log_decay.expand_as(key)),
        bonus,
        scale=1.0,
        initial_state=their_table(state),
        output_final_state=True,
    )
    member = members.rwkv_5 if version == "5" else members.rwkv_6
    found = member(receptance, key, value, log_decay, bonus, state=state)
    close(found, [*turned(wanted), after.mT])
    operator = wkv5 if version == "5" else wkv6
    ours = operator((-log_decay).log(), bonus, receptance, key, value, state)
    close(found, ours, 1e-10)


@at_every_length
def test_delta_net(length):
    receptance, key, value = asked(length)
    key, rate, state = normalize(key, dim=-1), rates(B, length, H), table()
    wanted, after = naive("delta_rule/naive.py").delta_rule_recurrence(
        *turned(SCALE * receptance, key, value, rate),
        initial_state=their_table(state),
    )
    found = members.delta_net(receptance, key, value, rate, state=state)
    close(found, [*turned(wanted), after.mT])


@at_every_length
@pytest.mark.parametrize("whose", ["fla", "qwen3_next", "olmo_hybrid"])
def test_gated_delta_net(length, whose):
    """As two that are in production have it; Olmo's rates may be doubled."""
    receptance, key, value = asked(length)
    key, log_decay, state = normalize(key, dim=-1), fading(B, length, H), table()
    rate = rates(B, length, H) * (2 if whose == "olmo_hybrid" else 1)
    known = {"g": log_decay, "beta": rate, "output_final_state": True}
    known["initial_state"] = their_table(state)
    if whose == "fla":
        theirs = naive("gated_delta_rule/naive.py").naive_recurrent_gated_delta_rule
    else:
        theirs = of_transformers(whose, "torch_recurrent_gated_delta_rule")
    wanted, after = theirs(*(x.float() for x in (receptance, key, value)), **known)
    receptance = receptance / SCALE
    found = members.gated_delta_net(
        receptance, key, value, log_decay, rate, state=state
    )
    close(found, [wanted, after.mT])


@at_every_length
@pytest.mark.parametrize("whose", ["fla", "kimi_linear", "glm5_next"])
def test_kimi_delta_attention(length, whose):
    receptance, key, value = asked(length)
    key, log_decay, state = normalize(key, dim=-1), fading(B, length, H, N), table()
    rate = rates(B, length, H)
    if whose == "fla":
        theirs = naive("kda/naive.py").naive_recurrent_kda
    else:
        theirs = of_transformers(whose, "recurrent_kimi_delta_attention")
    wanted, after = theirs(
        *(receptance, key, value, log_decay, rate),
        initial_state=their_table(state),
        output_final_state=True,
    )
    receptance = receptance / SCALE
    found = members.kimi_delta_attention(
        receptance, key, value, log_decay, rate, state=state
    )
    close(found, [wanted, after.mT])


@at_every_length
def test_gated_delta_net_2(length):
    receptance, key, value = asked(length)
    key, log_decay, state = normalize(key, dim=-1), fading(B, length, H, N), table()
    erase, write = rates(B, length, H, N), rates(B, length, H, M)
    given = key, value, log_decay, erase, write
    wanted, after = naive("gdn2/naive.py").naive_recurrent_gdn2(
        receptance, *given, initial_state=their_table(state), output_final_state=True
    )
    found = members.gated_delta_net_2(receptance / SCALE, *given, state=state)
    close(found, [wanted, after.mT])


@at_every_length
def test_comba(length):
    receptance, key, value = asked(length)
    key, removed = normalize(key, dim=-1), normalize(tokens(length), dim=-1)
    log_decay, rate, state = fading(B, length, H), rates(B, length, H), table()
    wanted, after = naive("comba/naive.py").naive_recurrent_comba(
        *(receptance, key, value),
        p=removed,
        g=log_decay,
        beta=rate,
        initial_state=their_table(state),
        output_final_state=True,
    )
    receptance = receptance / SCALE
    found = members.comba(receptance, key, value, removed, log_decay, rate, state=state)
    close(found, [wanted, after.mT])


@at_every_length
@pytest.mark.parametrize("writes", [1, 2, 3])
def test_delta_product(length, writes):
    receptance, log_decay, state = tokens(length), fading(B, length, H), table()
    key, value = normalize(tokens(writes * length), dim=-1), tokens(writes * length, M)
    rate = 2 * rates(B, writes * length, H)
    wanted, after = naive(
        "gated_delta_product/naive.py"
    ).naive_recurrent_gated_delta_product(
        *(receptance, key, value, log_decay, rate, 1.0),
        initial_state=their_table(state),
        num_householder=writes,
    )
    found = members.delta_product(receptance, key, value, log_decay, rate, state=state)
    close(found, [wanted, after.mT])


@at_every_length
def test_rwkv_7(length):
    receptance, key, value = asked(length)
    logit, removed = tokens(length), normalize(tokens(length), dim=-1)
    log_decay, rate, state = (
        -FASTEST * logit.sigmoid(),
        tokens(length).sigmoid(),
        table(),
    )
    wanted, after = naive("generalized_delta_rule/dplr/naive.py").dplr_recurrence(
        *(x.float() for x in turned(SCALE * receptance, key, value)),
        *(x.float() for x in turned(-removed, removed * rate, log_decay)),
        initial_state=their_table(state),
    )
    given = key, value, log_decay, removed, rate
    found = members.rwkv_7(receptance, *given, state=state)
    close(found, [*turned(wanted), after.mT])
    ours = wkv7(logit, receptance, key, value, removed, rate, state)
    close(found, ours, 1e-10)


# All of them, on random tokens.

every_member = pytest.mark.parametrize(
    "member", portraits.MEMBERS, ids=[member.name for member in portraits.MEMBERS]
)


def drawn(member, length=9):
    generator = torch.Generator().manual_seed(1)
    return member.tokens(generator, texts=2, length=length, heads=3, size=6)


def cut(member, tokens, first, last):
    """The tokens from `first` on, before `last`; what belongs to no token stays."""
    found = {}
    for name, x in tokens.items():
        axes = member.takes[name].rpartition(" ")[2]
        if name == member.key_share or axes.startswith("BT"):
            found[name] = x[:, first:last]
        elif axes.startswith("Bn"):
            found[name] = x[:, first * member.writes : last * member.writes]
        else:
            found[name] = x
    return found


@every_member
def test_every_form_serves_every_member(member):
    tokens = drawn(member)
    wanted = member(tokens, form=table_recurrent)
    for name, form in FORMS.items():
        if name == "scan" and portraits.removal(member) != "nothing":
            continue  # a scan has no removal
        close(member(tokens, form=form), wanted, 1e-10)
    close(member(tokens), wanted, 1e-10)


@every_member
def test_a_text_may_be_cut_anywhere(member):
    tokens = drawn(member)
    wanted, after = member(tokens)
    for at in (1, 4, 8):
        first, state = member(cut(member, tokens, 0, at))
        second, last = member(cut(member, tokens, at, 9), state=state)
        close([torch.cat([first, second], dim=1), last], [wanted, after], 1e-10)


@every_member
def test_gradients_flow_to_all_that_a_token_hands_over(member):
    leaves = {name: x.requires_grad_() for name, x in drawn(member).items()}
    out, state = member(leaves)
    found = torch.autograd.grad(out.sum() + state.square().sum(), leaves.values())
    for name, gradient in zip(leaves, found, strict=True):
        assert gradient.isfinite().all() and gradient.abs().max() > 0, name
