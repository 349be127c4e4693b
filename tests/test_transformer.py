"""The small GPT, held to the GPT-2 and GPT-NeoX of `transformers` on its weights."""

import math
import re
from functools import partial

import pytest
import torch
from helpers.comparison import TOLERANCE, every_dtype, every_length, near
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

from rwkv_book.attention import KvCache, longformer, softmax_attention
from rwkv_book.transformer import GPT, Config, three_words

LEARNED = Config(vocabulary=11, layers=3, width=12, heads=2, context=80)
ROTARY = Config(vocabulary=11, layers=3, width=12, heads=2)
both_positions = pytest.mark.parametrize(
    "config", [LEARNED, ROTARY], ids=["learned", "rotary"]
)


def model(config, dtype=torch.float64, **arguments):
    """A network whose every weight matters: none is at its initial 0 or 1."""
    torch.manual_seed(0)
    network = GPT(config, **arguments)
    for weights in network.parameters():
        torch.nn.init.normal_(weights, mean=float(weights.ndim == 1), std=0.3)
    return network.to(dtype)


def random_tokens(batch, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(11, (batch, length), generator=generator)


NAMES_OF_GPT2 = {
    "embedding": "transformer.wte",
    "positions": "transformer.wpe",
    "norm_out": "transformer.ln_f",
    "blocks": "transformer.h",
    "norm_attention": "ln_1",
    "attention.query_key_value": "attn.c_attn",
    "attention.output": "attn.c_proj",
    "norm_hidden": "ln_2",
    "hidden": "mlp.c_fc",
    "output": "mlp.c_proj",
}
NAMES_OF_NEOX = {
    "embedding": "gpt_neox.embed_in",
    "norm_out": "gpt_neox.final_layer_norm",
    "blocks": "gpt_neox.layers",
    "norm_attention": "input_layernorm",
    "attention.query_key_value": "attention.query_key_value",
    "attention.output": "attention.dense",
    "norm_hidden": "post_attention_layernorm",
    "hidden": "mlp.dense_h_to_4h",
    "output": "mlp.dense_4h_to_h",
}


def renamed(name, names):
    layer = re.fullmatch(r"blocks\.(\d+)\.(.*)\.(\w+)", name)
    if layer:
        return f"{names['blocks']}.{layer[1]}.{names[layer[2]]}.{layer[3]}"
    module, kind = name.split(".")
    return f"{names[module]}.{kind}"


def as_gpt2(name, weights):
    """Their matrices are transposed, except the embeddings."""
    return weights.T if weights.ndim == 2 and name.startswith("blocks") else weights


def as_neox(name, weights):
    """Their query, key and value lie head by head: (3,H,N) rows become (H,3,N)."""
    if "query_key_value" not in name:
        return weights
    return weights.unflatten(0, (3, 2, 6)).transpose(0, 1).flatten(0, 2)


def sizes_of(config):
    """A shape, in the words of `transformers`; learned positions are 80 in LEARNED."""
    return {
        "vocab_size": config.vocabulary,
        "num_hidden_layers": config.layers,
        "hidden_size": config.width,
        "num_attention_heads": config.heads,
        "max_position_embeddings": 80,
    }


def gpt2(config):
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2LMHeadModel(GPT2Config(**sizes_of(config), **dropout))


def neox(config):
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            **sizes_of(config),
            intermediate_size=config.hidden,
            rotary_pct=1.0,
            hidden_act="gelu_new",
            use_parallel_residual=False,
            tie_word_embeddings=True,
        )
    )


PACKAGES = {  # theirs turn rotary angles in float32, whatever the rest is in
    "GPT-2": (LEARNED, gpt2, NAMES_OF_GPT2, as_gpt2, TOLERANCE),
    "GPT-NeoX": (ROTARY, neox, NAMES_OF_NEOX, as_neox, dict.fromkeys(TOLERANCE, 1e-4)),
}


@pytest.mark.parametrize("package", PACKAGES)
@every_length
@every_dtype
def test_logits_and_gradients_are_those_of_transformers(package, length, dtype):
    config, make, names, converted, tolerances = PACKAGES[package]
    ours, theirs = model(config, dtype), make(config).to(dtype)
    weights = {
        renamed(name, names): converted(name, p.detach())
        for name, p in ours.named_parameters()
    }
    missing = theirs.load_state_dict(weights, strict=False).missing_keys
    assert set(missing) <= {"lm_head.weight", "embed_out.weight"}  # the embedding's
    tokens, targets = random_tokens(2, length), random_tokens(2, length, seed=1)
    found, expected = ours(tokens)[0], theirs(tokens).logits
    assert found.dtype == dtype
    near(found, expected, tolerances[dtype])
    for logits in (found, expected):
        cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    gradients = dict(theirs.named_parameters())
    for name, p in ours.named_parameters():
        wanted = gradients[renamed(name, names)].grad
        near(converted(name, p.grad), wanted, tolerances[dtype])


@both_positions
@every_length
@every_dtype
def test_naive_and_fused_attention_make_the_same_model(config, length, dtype):
    naive, fused = (
        model(config, dtype, attention=softmax_attention),
        model(config, dtype),
    )
    tokens = random_tokens(2, length)
    near(naive(tokens)[0], fused(tokens)[0], TOLERANCE[dtype])


@both_positions
@given(cut=st.integers(1, 16), seed=st.integers(0, 10**6), naive=st.booleans())
@settings(deadline=None, max_examples=20)
def test_prefix_then_suffix_equals_whole_with_gradients(config, cut, seed, naive):
    network = model(config, **{"attention": softmax_attention} if naive else {})
    tokens = random_tokens(2, 17, seed)
    whole, cache = network(tokens)
    first, between = network(tokens[:, :cut])
    second, after = network(tokens[:, cut:], between)
    parts = torch.cat([first, second], dim=1)
    near(parts, whole)
    for found, expected in zip(after, cache, strict=True):
        near(found.key, expected.key)
        near(found.value, expected.value)
    weights = [*network.parameters()]
    gradients = (
        torch.autograd.grad(logits.logsumexp(-1).square().sum(), weights)
        for logits in (parts, whole)
    )
    for found, expected in zip(*gradients, strict=True):
        near(found, expected)


@both_positions
@every_dtype
def test_forward_equals_step_and_the_cache_weighs_what_was_predicted(config, dtype):
    network, tokens, cache = model(config, dtype), random_tokens(2, 33), None
    logits, after = network(tokens)
    for t in range(33):
        predicted, cache = network.step(tokens[:, t], cache)
        near(predicted, logits[:, t], TOLERANCE[dtype])
        itemsize = dtype.itemsize
        measured = sum(layer.nbytes for layer in cache)
        assert measured == config.cache_bytes(t + 1, batch=2, itemsize=itemsize)
    assert measured == sum(layer.nbytes for layer in after)


@both_positions
def test_a_cache_can_branch(config):
    network, tokens = model(config), random_tokens(1, 9)
    _, cache = network(tokens)
    kept = [tuple(field.clone() for field in layer) for layer in cache]
    for token in (3, 5):
        branch = torch.cat([tokens, torch.tensor([[token]])], dim=1)
        logits, _ = network.step(torch.tensor([token]), cache)
        near(logits, network(branch)[0][:, -1])
    for layer, before in zip(cache, kept, strict=True):
        assert all(map(torch.equal, layer, before))


@both_positions
def test_a_token_changes_nothing_before_it(config):
    network, tokens = model(config), random_tokens(2, 17)
    before, _ = network(tokens)
    tokens[:, 9] = (tokens[:, 9] + 1) % 11
    after, _ = network(tokens)
    near(after[:, :9], before[:, :9], 1e-12)
    assert (after[:, 9:] != before[:, 9:]).any(dim=2).all()


@both_positions
def test_the_order_of_tokens_matters(config):
    """Without positions, attention sees a set: the last logits would not change."""
    network = model(config)
    one, other = network(torch.tensor([[1, 2, 3, 4], [2, 1, 3, 4]]))[0][:, -1]
    assert (one - other).abs().max() > 1e-3


def test_another_attention_can_stand_in_for_one_call():
    network, tokens = model(ROTARY), random_tokens(2, 17)
    window = partial(longformer, window=3)
    found, _ = network(tokens, attention=window)
    expected, _ = model(ROTARY, attention=window)(tokens)
    assert torch.equal(found, expected)
    assert (found - network(tokens)[0]).abs().max() > 1e-3


@both_positions
def test_heads_are_what_attention_is_asked(config):
    network, tokens = model(config), random_tokens(2, 17)
    asked = network.heads(tokens)
    _, cache = network(tokens)
    assert len(asked) == config.layers
    for (query, key, value), kept in zip(asked, cache, strict=True):
        assert query.shape == (2, 2, 17, 6)
        near(key, kept.key)
        near(value, kept.value)
    block, (query, key, value) = network.blocks[0], asked[0]
    x = network.embedding(tokens)
    if config.context:
        x = x + network.positions.weight[:17]
    mixed = softmax_attention(query, key, value, causal=True).transpose(1, 2).flatten(2)
    found, _ = block.attention(block.norm_attention(x), None, softmax_attention)
    near(block.attention.output(mixed), found)


@both_positions
def test_initial_values_are_those_of_gpt_2(config):
    wide = Config(500, 8, 256, 4, context=config.context and 300)
    network = GPT(wide)
    for name, p in network.named_parameters():
        if name.endswith("bias"):
            assert (p == 0).all()
        elif "norm" in name:
            assert (p == 1).all()
        else:
            expected = 0.02 / math.sqrt(16 if "output" in name else 1)
            assert p.std().item() == pytest.approx(expected, rel=0.03), name
            assert abs(p.mean().item()) < 5 * expected / math.sqrt(p.numel())


@both_positions
def test_a_new_model_knows_nothing(config):
    torch.manual_seed(0)
    tokens = random_tokens(4, 17)
    logits, _ = GPT(config)(tokens)
    loss = cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(11), abs=0.05)


@both_positions
def test_the_number_of_weights_is_the_closed_form(config):
    """12 L C² + 13 L C + (V + context + 2) C"""
    layers, width = config.layers, config.width
    expected = 12 * layers * width**2 + 13 * layers * width
    expected += (config.vocabulary + (config.context or 0) + 2) * width
    assert sum(p.numel() for p in GPT(config).parameters()) == expected


@both_positions
def test_it_learns_to_repeat_what_it_has_read(config):
    """Five random tokens, again and again: what follows is known after one round."""
    torch.manual_seed(0)
    network = GPT(config)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-2)

    def loss(step):
        tokens = random_tokens(32, 5, seed=step).repeat(1, 4)
        logits, _ = network(tokens[:, :-1])
        return cross_entropy(logits[:, 5:].flatten(0, 1), tokens[:, 6:].flatten())

    for step in range(150):
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()
    assert loss(10**6).item() < 0.5 * math.log(11)  # that of a model that knows nothing


def test_a_text_longer_than_the_learned_positions_is_refused():
    network = model(LEARNED)
    _, cache = network(random_tokens(1, 79))
    _, full = network(random_tokens(1, 1), cache)
    with pytest.raises(ValueError, match=r"81 tokens are more than context 80: .*None"):
        network(random_tokens(1, 1), full)
    assert torch.isfinite(model(ROTARY)(random_tokens(1, 81))[0]).all()


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ({"heads": 5}, "5 equal heads don't make width 12"),
        ({"heads": 4}, "rotary positions need an even head size"),
        (
            {"layers": 0, "vocabulary": 0},
            "vocabulary must be.*; layers must be at least 1, got 0",
        ),
        ({"context": 0}, "context must be at least 1, or None .* got 0"),
    ],
)
def test_a_shape_that_makes_no_model_is_refused(sizes, sentence):
    shape = {"vocabulary": 11, "layers": 3, "width": 12, "heads": 2} | sizes
    with pytest.raises(ValueError, match=sentence):
        Config(**shape)


def test_wrong_shapes_of_tokens_and_caches_are_named():
    network, tokens = model(ROTARY), random_tokens(2, 3)
    _, cache = network(tokens)
    with pytest.raises(ValueError, match=r"tokens must be \(B,T\).*got \(3,\)"):
        network(tokens[0])
    with pytest.raises(ValueError, match=r"T at least 1, got \(2, 0\)"):
        network(tokens[:, :0])
    with pytest.raises(ValueError, match=r"3 layers of .* \(1, 2, 3, 6\), got"):
        network(tokens[:1], cache)
    with pytest.raises(ValueError, match="cache must be 3 layers"):
        network(tokens, cache[:2])
    with pytest.raises(ValueError, match="cache must be 3 layers"):
        network(tokens, [KvCache(x, y[..., :5]) for x, y in cache])


def test_the_network_by_hand_has_the_numbers_of_the_table():
    model = three_words()
    tokens = torch.tensor([[0, 1, 2]])
    ((query, key, value),) = model.heads(tokens)
    weights = (query @ key.mT / math.sqrt(3)).softmax(-1)[0, 0]
    table = torch.tensor([[1, 2, 1], [2, 1, 1], [4, 1, 1]])
    assert torch.allclose(weights, table / table.sum(1, keepdim=True), atol=1e-5)
    averages = softmax_attention(query, key, value, causal=True)[0, 0, :, 0]
    assert torch.allclose(averages, torch.tensor([12.0, 10, 9]), atol=1e-4)
    assert model(tokens)[0].argmax(2).tolist() == [[1, 2, 1]]  # sleeps, she, sleeps
