"""Every method of attention, held to a package that nobody here wrote or to sums.

Softmax attention is PyTorch's; Linformer, Nyströmformer, Longformer, Performer and
linear attention have packages; AFT has none, so its definition is written out.
"""

import importlib.util
import math
import warnings
from functools import partial
from importlib.metadata import distribution
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linformer import LinformerSelfAttention
from local_attention import LocalAttention
from nystrom_attention import NystromAttention
from torch import nn
from torch.nn.functional import elu, scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode
from transformers import LongformerConfig, NystromformerConfig
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb
from transformers.models.longformer.modeling_longformer import LongformerSelfAttention
from transformers.models.nystromformer.modeling_nystromformer import (
    NystromformerSelfAttention,
)
from transformers.models.rwkv.modeling_rwkv import rwkv_linear_attention_cpu

from rwkv_book.attention import (
    METHODS,
    Average,
    KvCache,
    LargestArray,
    aft_full,
    aft_local,
    aft_simple,
    aft_simple_recurrent,
    cached_attention,
    effective_matrix,
    empty_average,
    features,
    fused_attention,
    linear_attention,
    linear_attention_pairs,
    linear_attention_recurrent,
    linformer,
    log_features,
    longformer,
    merge_heads,
    nystromformer,
    orthogonal_projection,
    performer,
    performer_recurrent,
    pseudo_inverse,
    rotary,
    segment_means,
    softmax_attention,
    split_heads,
    visible,
)
from rwkv_book.rwkv4.wkv import wkv_attention

with warnings.catch_warnings():  # it imports modules that Python has retired
    warnings.simplefilter("ignore")
    from performer_pytorch import performer_pytorch

LENGTHS = [1, 2, 17, 64]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
every_length = pytest.mark.parametrize("length", LENGTHS)
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
masked_or_not = pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])


def heads(length, scale=1, dtype=torch.float64, batch=2, count=2, size=8, seed=0):
    """Random query, key and value, (B,H,T,N) each, that want gradients."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(3, batch, count, length, size, generator=generator)
    scales = torch.tensor([scale, scale, 1]).view(3, 1, 1, 1, 1)
    return [x.to(dtype).requires_grad_() for x in normal * scales]


def near(found, expected, tolerance=1e-10):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def assert_same(found, expected, tensors, tolerance=1e-10):
    """Equal numbers, and equal gradients of a sum that weighs each differently."""
    near(found, expected, tolerance)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    gradients = (
        torch.autograd.grad(
            (weights * out).sum(), tensors, retain_graph=True, allow_unused=True
        )
        for out in (found, expected)
    )
    for one, other in zip(*gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            near(one, other, tolerance)


# Softmax attention, heads, positions and the cache.


@every_length
@masked_or_not
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [  # scores grow with the square of the scale, and their rounding with the scores
        (torch.float64, 1),
        (torch.float64, 30),
        (torch.float64, 100),
        (torch.float32, 1),
        (torch.float32, 5),
    ],
)
def test_softmax_attention_is_that_of_pytorch(length, causal, dtype, scale):
    tensors = heads(length, scale, dtype)
    expected = scaled_dot_product_attention(*tensors, is_causal=causal)
    found = softmax_attention(*tensors, causal)
    assert found.dtype == dtype
    assert_same(found, expected, tensors, TOLERANCE[dtype])
    assert_same(fused_attention(*tensors, causal), expected, tensors, TOLERANCE[dtype])


@given(keys=st.integers(1, 20), last=st.floats(0, 1), causal=st.booleans())
@settings(deadline=None, max_examples=25)
def test_fewer_queries_than_keys_are_the_last_tokens(keys, last, causal):
    query, key, value = heads(keys)
    queries = 1 + int(last * (keys - 1))
    whole = softmax_attention(query, key, value, causal)[:, :, -queries:]
    for attention in (softmax_attention, fused_attention):
        near(attention(query[:, :, -queries:], key, value, causal), whole)


def test_multi_head_attention_is_that_of_pytorch():
    torch.manual_seed(0)
    module = nn.MultiheadAttention(12, 3, batch_first=True, dtype=torch.float64)
    x = torch.randn(2, 17, 12, dtype=torch.float64, requires_grad=True)
    projected = x @ module.in_proj_weight.T + module.in_proj_bias
    query, key, value = (split_heads(part, 3) for part in projected.chunk(3, dim=-1))
    found = module.out_proj(merge_heads(softmax_attention(query, key, value, True)))
    hidden = ~visible(17, 17)
    expected, _ = module(x, x, x, attn_mask=hidden, need_weights=False)
    assert_same(found, expected, [x, *module.parameters()])


def test_three_words_by_hand():
    """Scores 0, ln 2 and ln 3 make weights 1/6, 2/6 and 3/6 of 6, 12 and 0."""
    query = torch.ones(1, 1, 1, 1)
    key = torch.tensor([1.0, 2.0, 3.0]).log().view(1, 1, 3, 1)
    value = torch.tensor([6.0, 12.0, 0.0]).view(1, 1, 3, 1)
    assert softmax_attention(query, key, value).item() == pytest.approx(1 + 4)


def test_heads_split_and_merge():
    x = torch.arange(2 * 3 * 8).view(2, 3, 8)
    apart = split_heads(x, 4)
    assert apart.shape == (2, 4, 3, 2)
    assert apart[1, 2, 0].tolist() == x[1, 0, 4:6].tolist()
    assert torch.equal(merge_heads(apart), x)
    with pytest.raises(ValueError, match="8 channels are no 3 equal heads"):
        split_heads(x, 3)


@pytest.mark.parametrize("start", [0, 1000])
def test_rotary_is_that_of_llama(start):
    query, key, _ = heads(64, dtype=torch.float32)
    rate = 10000.0 ** (-torch.arange(0, 8, 2) / 8)
    angle = torch.arange(start, start + 64)[:, None] * torch.cat([rate, rate])
    expected = apply_rotary_pos_emb(query, key, angle.cos()[None], angle.sin()[None])
    for x, wanted in zip((query, key), expected, strict=True):
        assert_same(rotary(x, start), wanted, [x], 1e-4)


def test_rotary_turns_complex_numbers():
    x, _, _ = heads(17)
    first, second = x.chunk(2, dim=-1)
    position = torch.arange(5, 22, dtype=torch.float64)[:, None]
    rate = 10000 ** (-torch.arange(0, 8, 2, dtype=torch.float64) / 8)
    turned = torch.complex(first, second) * torch.exp(1j * position * rate)
    near(rotary(x, 5), torch.cat([turned.real, turned.imag], dim=-1))
    near(rotary(x)[:, :, 5:], rotary(x[:, :, 5:], start=5))


def test_rotary_products_depend_on_the_distance_alone():
    query, key, _ = heads(1)
    products = [
        (rotary(query, start + 7) * rotary(key, start)).sum() for start in (0, 1, 5000)
    ]
    assert not torch.isclose(products[0], (query * key).sum())
    near(products[1], products[0])
    near(products[2], products[0])


def test_rotary_refuses_an_odd_head_size():
    with pytest.raises(ValueError, match="even head size, got 7"):
        rotary(torch.ones(1, 1, 3, 7))


@given(length=st.integers(2, 24), cut=st.floats(0, 1), fused=st.booleans())
@settings(deadline=None, max_examples=25)
def test_a_cache_split_anywhere_equals_whole(length, cut, fused):
    attention = fused_attention if fused else softmax_attention
    tensors = heads(length)
    cut = 1 + int(cut * (length - 2))
    first, cache = cached_attention(*(x[:, :, :cut] for x in tensors))
    second, cache = cached_attention(
        *(x[:, :, cut:] for x in tensors), cache, attention
    )
    found = torch.cat([first, second], dim=2)
    assert_same(found, softmax_attention(*tensors, causal=True), tensors)
    assert torch.equal(cache.key, tensors[1]) and torch.equal(cache.value, tensors[2])


def test_a_cache_token_by_token_equals_whole_and_grows_as_predicted():
    tensors, cache, out = heads(17, dtype=torch.float32), None, []
    for t in range(17):
        token = (x[:, :, t : t + 1] for x in tensors)
        one, cache = cached_attention(*token, cache)
        out.append(one)
        numbers = METHODS["softmax"].state(t + 1, 8, None)
        assert cache.nbytes == 2 * 2 * numbers * 4  # B, H and 4 bytes
    near(torch.cat(out, dim=2), softmax_attention(*tensors, causal=True), 1e-4)


# Linear attention.


def naive_of_fla():
    """The naive forms of flash-linear-attention, from their own file.

    To import the package would need Triton, which the naive forms do not use.
    """
    path = distribution("fla-core").locate_file("fla/ops/linear_attn/naive.py")
    spec = importlib.util.spec_from_file_location("fla_naive", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@every_length
@pytest.mark.parametrize("scale", [1, 5])
def test_linear_attention_is_that_of_fla(length, scale):
    tensors = heads(length, scale, torch.float32)
    query, key, value = (x.transpose(1, 2) for x in tensors)  # (B,T,H,N)
    arguments = {"scale": 1.0, "normalize": True}
    query, key = elu(query) + 1, elu(key) + 1
    naive = naive_of_fla()
    expected, (num, den) = naive.naive_recurrent_linear_attn(
        query, key, value, output_final_state=True, **arguments
    )
    found, state = linear_attention_recurrent(*tensors)
    assert_same(found, expected.transpose(1, 2), tensors, 1e-4)
    near(state.num, num, 1e-4)
    near(state.den, den[:, 0], 1e-4)
    if length == 64:  # all that its chunked form can read
        expected = naive.naive_chunk_linear_attn(query, key, value, **arguments)
        assert_same(found, expected.transpose(1, 2), tensors, 1e-4)


@every_length
@every_dtype
@pytest.mark.parametrize("scale", [1, 30])
def test_the_forms_of_linear_attention_are_equal(length, dtype, scale):
    tensors = heads(length, scale, dtype)
    tolerance = TOLERANCE[dtype]
    pairs = linear_attention_pairs(*tensors)
    assert_same(linear_attention(*tensors), pairs, tensors, tolerance)
    pairs = linear_attention_pairs(*tensors, causal=True)
    recurrent, _ = linear_attention_recurrent(*tensors)
    assert recurrent.dtype == dtype
    assert_same(recurrent, pairs, tensors, tolerance)


def test_the_features_of_linear_attention_are_elu_plus_one():
    x = torch.linspace(-30, 30, 1001, dtype=torch.float64, requires_grad=True)
    assert_same(features(x), elu(x) + 1, [x], 1e-12)
    far = torch.tensor([-80.0])  # where elu + 1 has rounded to 0
    assert (elu(far) + 1).item() == 0
    assert features(far).item() == pytest.approx(math.exp(-80))


# Linformer.


@every_length
@every_dtype
def test_linformer_is_that_of_the_package(length, dtype):
    torch.manual_seed(0)
    module = LinformerSelfAttention(dim=16, seq_len=length, k=5, heads=2).to(dtype)
    module.to_out = nn.Identity()
    x = torch.randn(2, length, 16, dtype=dtype, requires_grad=True)
    query, key, value = (
        split_heads(project(x), 2)
        for project in (module.to_q, module.to_k, module.to_v)
    )
    found = merge_heads(linformer(query, key, value, module.proj_k, module.proj_v))
    assert_same(found, module(x), [x, *module.parameters()], TOLERANCE[dtype])


@every_length
def test_linformer_with_identities_is_softmax_attention(length):
    tensors, one = heads(length), torch.eye(length, dtype=torch.float64)
    expected = scaled_dot_product_attention(*tensors)
    assert_same(linformer(*tensors, one, one), expected, tensors)


# Nyströmformer.


def nystrom_module(landmarks, iterations, count=1):
    torch.manual_seed(0)
    module = NystromAttention(
        dim=8 * count,
        dim_head=8,
        heads=count,
        num_landmarks=landmarks,
        pinv_iterations=iterations,
        residual=False,
    ).double()
    module.to_out = nn.Identity()
    return module


@pytest.mark.parametrize(
    ("length", "landmarks"), [(1, 1), (2, 1), (17, 17), (64, 8), (64, 64)]
)
@pytest.mark.parametrize("iterations", [1, 6, 20])
def test_nystromformer_is_that_of_the_package(length, landmarks, iterations):
    """A head at a time: theirs starts all inverses from the largest norm of a batch."""
    module = nystrom_module(landmarks, iterations)
    x = torch.randn(1, length, 8, dtype=torch.float64, requires_grad=True)
    query, key, value = (split_heads(part, 1) for part in module.to_qkv(x).chunk(3, -1))
    found = merge_heads(nystromformer(query, key, value, landmarks, iterations))
    assert_same(found, module(x), [x, *module.parameters()], 1e-9)


def test_in_a_batch_nystromformer_is_the_package_once_both_have_converged():
    module = nystrom_module(8, iterations=30, count=2)
    x = torch.randn(3, 64, 16, dtype=torch.float64)
    query, key, value = (split_heads(part, 2) for part in module.to_qkv(x).chunk(3, -1))
    near(merge_heads(nystromformer(query, key, value, 8, 30)), module(x), 1e-8)


@pytest.mark.parametrize("landmarks", [1, 8, 32])
def test_nystromformer_is_that_of_transformers(landmarks):
    torch.manual_seed(0)
    config = NystromformerConfig(
        hidden_size=8,
        num_attention_heads=1,
        num_landmarks=landmarks,
        segment_means_seq_len=64,
        conv_kernel_size=1,
        attention_probs_dropout_prob=0.0,
    )
    module = NystromformerSelfAttention(config).double()
    nn.init.zeros_(module.conv.weight)  # a convolution that they add
    x = torch.randn(1, 64, 8, dtype=torch.float64, requires_grad=True)
    query, key, value = (
        split_heads(project(x), 1)
        for project in (module.query, module.key, module.value)
    )
    found = merge_heads(nystromformer(query, key, value, landmarks))
    weights = [p for n, p in module.named_parameters() if not n.startswith("conv")]
    assert_same(found, module(x)[0], [x, *weights], 1e-9)


@every_length
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-10)], ids=str
)
def test_nystromformer_with_a_landmark_a_token_is_softmax_attention(
    length, dtype, tolerance
):
    tensors = heads(length, dtype=dtype, size=64)
    expected = scaled_dot_product_attention(*tensors)
    found = nystromformer(*tensors, landmarks=length, iterations=20)
    near(found, expected, tolerance)


def test_the_inverse_is_that_of_pytorch_for_matrices_of_any_size_and_sign():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(3, 6, 6, generator=generator, dtype=torch.float64)
    matrix *= torch.tensor([1e-3, 1.0, 1e3], dtype=torch.float64).view(3, 1, 1)
    near(pseudo_inverse(matrix, 60) @ matrix, torch.linalg.pinv(matrix) @ matrix, 1e-8)


def test_each_iteration_cubes_the_error_of_the_inverse():
    matrix = softmax_attention(*heads(8)[:2], torch.eye(8, dtype=torch.float64))
    one = torch.eye(8, dtype=torch.float64)
    errors = []
    for iterations in range(25):
        error = one - matrix @ pseudo_inverse(matrix, iterations)
        errors.append(torch.linalg.matrix_norm(error, 2).amax().item())
    assert errors[-1] < 1e-10
    for error, following in pairwise(errors):
        assert following <= (0.75 * error**3 + 0.25 * error**4) * 1.01 + 1e-10


@given(length=st.integers(1, 40), part=st.floats(0, 1))
@settings(deadline=None, max_examples=25)
def test_segments_hold_every_token_once_and_differ_by_one_at_most(length, part):
    segments = 1 + int(part * (length - 1))
    weights = segment_means(torch.eye(length, dtype=torch.float64), segments)
    sizes = (weights > 0).sum(1)
    assert weights.shape == (segments, length)
    assert (weights > 0).sum(0).tolist() == [1] * length
    assert sizes.max() - sizes.min() <= 1
    near(weights.sum(1), torch.ones(segments, dtype=torch.float64))


@pytest.mark.parametrize("landmarks", [0, 18])
def test_more_landmarks_than_tokens_are_refused(landmarks):
    with pytest.raises(ValueError, match=f"17 tokens make no {landmarks} segments"):
        nystromformer(*heads(17), landmarks=landmarks)


# Longformer.


def band(length, window, global_tokens=(), causal=False):
    """Who sees whom, as a matrix."""
    t = torch.arange(length)
    mask = (t[:, None] - t).abs() <= window
    mask[:, list(global_tokens)] = True
    mask[list(global_tokens)] = True
    return mask & (t <= t[:, None]) if causal else mask


@given(
    length=st.integers(1, 40),
    window=st.integers(0, 45),
    marked=st.sets(st.integers(0, 39), max_size=4),
    causal=st.booleans(),
    seed=st.integers(0, 10**6),
)
@settings(deadline=None, max_examples=60)
def test_longformer_is_attention_with_a_banded_mask(
    length, window, marked, causal, seed
):
    tensors = heads(length, seed=seed)
    marked = [position for position in marked if position < length]
    mask = band(length, window, marked, causal)
    expected = scaled_dot_product_attention(*tensors, attn_mask=mask)
    assert_same(longformer(*tensors, window, marked, causal), expected, tensors)


@every_length
@every_dtype
@masked_or_not
def test_longformer_with_a_window_over_all_is_softmax_attention(length, dtype, causal):
    tensors = heads(length, dtype=dtype)
    expected = scaled_dot_product_attention(*tensors, is_causal=causal)
    found = longformer(*tensors, window=length - 1, causal=causal)
    assert_same(found, expected, tensors, TOLERANCE[dtype])


@pytest.mark.parametrize("marked", [[], [0], [3, 40]], ids=str)
def test_longformer_is_that_of_transformers(marked):
    torch.manual_seed(0)
    config = LongformerConfig(
        hidden_size=16,
        num_attention_heads=2,
        attention_window=[16],
        attention_probs_dropout_prob=0.0,
    )
    module = LongformerSelfAttention(config, 0)
    for name in ("query", "key", "value"):  # theirs have projections of their own
        setattr(module, f"{name}_global", getattr(module, name))
    x = torch.randn(2, 64, 16, requires_grad=True)
    is_marked = torch.isin(torch.arange(64), torch.tensor(marked)).expand(2, 64)
    expected, *_ = module(
        x,
        attention_mask=10000.0 * is_marked,
        is_index_masked=torch.zeros(2, 64, dtype=torch.bool),
        is_index_global_attn=is_marked,
        is_global_attn=bool(marked),
    )
    query, key, value = (
        split_heads(project(x), 2)
        for project in (module.query, module.key, module.value)
    )
    found = merge_heads(longformer(query, key, value, 8, marked))
    assert_same(found, expected, [x, *module.parameters()], 1e-4)


@pytest.mark.parametrize("length", [16, 64])
@pytest.mark.parametrize("window", [1, 8])
@masked_or_not
def test_longformer_is_that_of_local_attention(length, window, causal):
    module = LocalAttention(
        window, causal=causal, exact_windowsize=True, use_rotary_pos_emb=False
    )
    tensors = heads(length)
    found = longformer(*tensors, window, causal=causal)
    assert_same(found, module(*tensors), tensors)


def test_a_position_that_is_not_there_is_refused():
    with pytest.raises(IndexError):
        longformer(*heads(17), 2, [17])


# Performer.


def log_features_of(x, y, draw, draws):
    """exp of log Σ φ(x)φ(y) for many projections: estimates of exp(x·y)."""
    return torch.stack(
        [
            (log_features(x, rows) + log_features(y, rows)).exp().sum()
            for rows in (draw().double() for _ in range(draws))
        ]
    )


@pytest.mark.parametrize("kind", ["orthogonal", "independent"])
def test_the_features_are_unbiased_estimates_of_exp(kind):
    """Fails by chance once in 1.7 million seeds a pair: 5 standard errors of a mean.

    A mean of 4000 draws is close to normal, and the seed is fixed.
    """
    generator = torch.Generator().manual_seed(0)
    draw = {
        "orthogonal": partial(orthogonal_projection, 8, 4, generator),
        "independent": lambda: torch.randn(8, 4, generator=generator),
    }[kind]
    x = torch.tensor([-0.9, 0.3, 0.2, -0.1], dtype=torch.float64)
    for y in (x, -x / 2, torch.tensor([0.5, 0.5, -0.5, 0.5], dtype=torch.float64)):
        estimates = log_features_of(x, y, draw, draws=4000)
        error = estimates.std() / math.sqrt(4000)
        assert (estimates.mean() - (x @ y).exp()).abs() < 5 * error


def test_without_the_signs_of_the_decomposition_the_features_are_biased():
    """As performer-pytorch draws them, the first of every N rows looks one way."""
    torch.manual_seed(0)
    drawn = [
        performer_pytorch.gaussian_orthogonal_random_matrix(4, 4) for _ in range(2000)
    ]
    assert all(rows[0, 0] < 0 for rows in drawn)
    for first, sign in ((-0.5, 1), (0.5, -1)):  # along the axis, and against it
        x = torch.tensor([first, 0.0, 0.0, 0.0], dtype=torch.float64)
        estimates = log_features_of(x, x, iter(drawn).__next__, draws=2000)
        error = estimates.std() / math.sqrt(2000)
        assert sign * (estimates.mean() - (x @ x).exp()) > 5 * error


def test_the_error_of_a_weight_is_the_closed_form():
    """Relative variance (exp|x + y|² - 1) / M, for rows that are independent."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.tensor([[0.4, 0.2, 0.0], [0.1, -0.3, 0.5]], dtype=torch.float64)
    for count in (4, 64):
        draw = partial(torch.randn, count, 3, generator=generator)
        estimates = log_features_of(x, y, draw, draws=4000) / (x @ y).exp()
        expected = ((x + y).square().sum().exp() - 1) / count
        assert estimates.var().item() == pytest.approx(expected.item(), rel=0.2)


def test_orthogonal_rows_have_smaller_errors_than_independent_ones():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.tensor([[0.4, 0.2, 0.0, 0.6], [0.1, -0.3, 0.5, 0.4]]).double()
    orthogonal = partial(orthogonal_projection, 4, 4, generator)
    independent = partial(torch.randn, 4, 4, generator=generator)
    variances = [
        log_features_of(x, y, draw, draws=4000).var()
        for draw in (orthogonal, independent)
    ]
    assert variances[0] < 0.9 * variances[1]


def test_rows_are_orthogonal_within_a_block_and_as_long_as_normal_vectors():
    generator = torch.Generator().manual_seed(0)
    rows = orthogonal_projection(2500, 16, generator)
    assert rows.shape == (2500, 16)
    products = rows[:16] @ rows[:16].T
    near(products, products.diagonal().diag(), 1e-4)
    # 2500 squared lengths with mean 16 and variance 32: within 5 standard errors
    assert abs(rows.square().sum(1).mean() - 16) < 5 * math.sqrt(32 / 2500)
    assert 0 < (rows[::16, 0] > 0).sum() < len(rows[::16])


def test_the_error_of_performer_falls_with_the_root_of_its_features():
    """Over 20 projections each; a factor of 4 in M should halve the error."""
    query, key, value = (x.detach() for x in heads(64, 0.5))
    expected = scaled_dot_product_attention(query, key, value)
    generator = torch.Generator().manual_seed(0)
    errors = []
    for count in (16, 64, 256, 1024):
        found = [
            performer(
                query, key, value, orthogonal_projection(count, 8, generator).double()
            )
            for _ in range(20)
        ]
        errors.append((torch.stack(found) - expected).square().mean().sqrt().item())
    for error, following in pairwise(errors):
        assert 0.4 < following / error < 0.6


@every_length
@every_dtype
@masked_or_not
def test_performer_is_that_of_the_package(length, dtype, causal):
    """With their kernel's eps, which keeps a sum from 0 and biases it, at 0."""
    tensors = heads(length, dtype=dtype)
    projection = orthogonal_projection(20, 8, torch.Generator().manual_seed(0))
    projection = projection.to(dtype)
    kernel = partial(
        performer_pytorch.softmax_kernel, projection_matrix=projection, eps=0.0
    )
    query, key = kernel(tensors[0], is_query=True), kernel(tensors[1], is_query=False)
    if causal:
        found, _ = performer_recurrent(*tensors, projection)
        expected = performer_pytorch.causal_linear_attention_noncuda(
            query, key, tensors[2], eps=0.0
        )
    else:
        found = performer(*tensors, projection)
        expected = performer_pytorch.linear_attention(query, key, tensors[2])
    assert found.dtype == dtype
    # its kernel detaches the maximum that it divides by, which is right: it cancels
    assert_same(found, expected, tensors, TOLERANCE[dtype] * 10)


def test_performer_is_the_packages_module_as_it_comes():
    torch.manual_seed(0)
    module = performer_pytorch.FastAttention(8, nb_features=64)
    tensors = heads(64, 0.5, torch.float32)
    difference = performer(*tensors, module.projection_matrix) - module(*tensors)
    # its kernel adds 1e-4 to every feature, against sums of 0
    assert difference.norm() < 0.05 * module(*tensors).norm()


@pytest.mark.parametrize("scale", [30, 300])
@every_dtype
def test_performer_stays_a_weighted_average_where_exponentials_overflow(scale, dtype):
    query, key, value = heads(64, scale, dtype)
    projection = orthogonal_projection(64, 8, torch.Generator().manual_seed(0))
    projection = projection.to(dtype)
    for out in (
        performer(query, key, value, projection),
        performer_recurrent(query, key, value, projection)[0],
    ):
        assert (out >= value.amin(2, keepdim=True) - 1e-4).all()
        assert (out <= value.amax(2, keepdim=True) + 1e-4).all()
        gradients = torch.autograd.grad(out.sum(), [query, key, value])
        assert all(gradient.isfinite().all() for gradient in gradients)


# AFT.


def aft_by_definition(query, key, value, bias):
    """(T,C) lists of numbers, one sum after the other; -inf is a token not seen."""
    out = torch.empty_like(value)
    length, channels = value.shape
    for t in range(length):
        for c in range(channels):
            weights = [
                math.exp(key[i, c] + bias[t, i]) if bias[t, i] > -math.inf else 0.0
                for i in range(length)
            ]
            average = sum(w * value[i, c] for i, w in enumerate(weights)) / sum(weights)
            out[t, c] = average / (1 + math.exp(-query[t, c]))
    return out


def aft_tensors(length, scale=1, dtype=torch.float64, seed=0):
    """Query, key and value (2,T,3), and a bias (T,T)."""
    generator = torch.Generator().manual_seed(seed)
    query, key, value = torch.randn(3, 2, length, 3, generator=generator)
    bias = torch.randn(length, length, generator=generator)
    tensors = query, scale * key, value, bias
    return [x.to(dtype).requires_grad_() for x in tensors]


@every_length
@every_dtype
@masked_or_not
def test_aft_is_its_definition(length, dtype, causal):
    *tensors, bias = (x.detach() for x in aft_tensors(length, dtype=dtype))
    t = torch.arange(length)
    unseen = torch.where(t > t[:, None], -torch.inf if causal else 0.0, 0.0)
    beyond = (t - t[:, None]).abs() >= 3
    simple = aft_simple_recurrent(*tensors)[0] if causal else aft_simple(*tensors)
    for found, biases in (
        (aft_full(*tensors, bias, causal), bias),
        (aft_local(*tensors, bias, 3, causal), bias.masked_fill(beyond, 0)),
        (simple, torch.zeros_like(bias)),
    ):
        assert found.dtype == dtype
        for b in range(2):
            expected = aft_by_definition(*(x[b] for x in tensors), biases + unseen)
            near(found[b], expected, TOLERANCE[dtype])


@masked_or_not
def test_gradients_of_aft_are_those_of_finite_differences(causal):
    tensors = aft_tensors(4)
    for function in (aft_full, partial(aft_local, window=2)):
        assert torch.autograd.gradcheck(partial(function, causal=causal), tensors)


@every_length
@every_dtype
@pytest.mark.parametrize("scale", [1, 30, 300])
def test_simple_aft_is_full_aft_without_a_bias(length, dtype, scale):
    *tensors, bias = aft_tensors(length, scale, dtype)
    none = torch.zeros_like(bias)
    found, expected = aft_simple(*tensors), aft_full(*tensors, none)
    assert_same(found, expected, tensors, TOLERANCE[dtype])
    found, _ = aft_simple_recurrent(*tensors)
    expected = aft_full(*tensors, none, causal=True)
    assert_same(found, expected, tensors, TOLERANCE[dtype])


def test_simple_aft_is_the_rwkv_of_transformers_without_decay_and_bonus():
    *tensors, _ = aft_tensors(17)
    query, key, value = (x.detach() for x in tensors)
    never = torch.full((3,), -torch.inf, dtype=torch.float64)  # exp of it is 0
    expected, _ = rwkv_linear_attention_cpu(never, torch.zeros_like(never), key, value)
    found, _ = aft_simple_recurrent(query, key, value)
    near(found, query.sigmoid() * expected, 1e-6)  # they sum in float32


@every_length
def test_full_aft_with_a_bias_that_fades_is_wkv(length):
    """The door to RWKV: position_bias[t,i] = -(t - 1 - i) · decay_rate, and a bonus."""
    query, key, value, _ = aft_tensors(length, scale=30)
    decay_rate, bonus = torch.tensor([0.3, 0.7], dtype=torch.float64)
    t = torch.arange(length)
    bias = (-(t[:, None] - 1 - t) * decay_rate).where(t[:, None] != t, bonus)
    expected, _ = wkv_attention(decay_rate.expand(3), bonus.expand(3), key, value)
    found = aft_full(query, key, value, bias, causal=True)
    assert_same(found, query.sigmoid() * expected, [query, key, value])


@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1, 300]))
@settings(deadline=None, max_examples=25)
def test_a_value_more_in_an_average_is_the_average_of_all(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    logs, values = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    state = empty_average(logs[0], values[0])
    for log, value in zip(scale * logs, values, strict=True):
        state = state.include(log, value)
    expected = Average(
        ((scale * logs).softmax(0) * values).sum(0), (scale * logs).logsumexp(0)
    )
    for found, wanted in zip(state, expected, strict=True):
        near(found, wanted)


# What all of them have in common.

RECURRENT = {
    "linear": linear_attention_recurrent,
    "performer": partial(
        performer_recurrent,
        projection=orthogonal_projection(
            20, 8, torch.Generator().manual_seed(0)
        ).double(),
    ),
    "aft simple": aft_simple_recurrent,
}
every_method = pytest.mark.parametrize("name", METHODS)
CAUSAL = [name for name, method in METHODS.items() if method.causal]


@pytest.mark.parametrize("name", RECURRENT)
@given(length=st.integers(2, 24), cut=st.floats(0, 1), scale=st.sampled_from([1, 30]))
@settings(deadline=None, max_examples=25)
def test_split_anywhere_equals_whole(name, length, cut, scale):
    form, tensors = RECURRENT[name], heads(length, scale, seed=length)
    cut = 1 + int(cut * (length - 2))
    first, between = form(*(x[:, :, :cut] for x in tensors))
    second, after = form(*(x[:, :, cut:] for x in tensors), state=between)
    whole, wanted = form(*tensors)
    assert_same(torch.cat([first, second], dim=2), whole, tensors)
    for found, expected in zip(after, wanted, strict=True):
        near(found, expected)


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("length", [1, 17])
def test_a_state_has_as_many_numbers_as_predicted(name, length):
    _, state = RECURRENT[name](*heads(length))
    numbers = sum(field.numel() for field in state)
    assert numbers == 2 * 2 * METHODS[name].state(length, 8, 20)  # B and H


def test_a_window_generates_from_its_last_keys_and_values():
    tensors, cache, out = heads(17), None, []
    for t in range(17):
        one, cache = cached_attention(*(x[:, :, t : t + 1] for x in tensors), cache)
        out.append(one)
        numbers = cache.key[0, 0].numel() + cache.value[0, 0].numel()
        assert numbers == METHODS["longformer"].state(t + 1, 8, 6)
        cache = KvCache(*(kept[:, :, -5:] for kept in cache))
    expected = METHODS["longformer"](*tensors, 6, causal=True)
    near(torch.cat(out, dim=2), expected)


def test_local_aft_generates_from_a_window_and_the_average_of_what_left_it():
    *tensors, bias = aft_tensors(17)
    query, key, value = tensors
    past, out = empty_average(key[:, 0], value[:, 0]), []
    for t in range(17):
        if t >= 4:
            past = past.include(key[:, t - 4], value[:, t - 4])
        start = max(0, t - 3)
        state = past
        for i in range(start, t + 1):
            state = state.include(key[:, i] + bias[t, i], value[:, i])
        out.append(query[:, t].sigmoid() * state.average)
        kept = 2 * 3 * (t + 1 - start) + sum(x[0].numel() for x in past)
        assert kept == METHODS["aft local"].state(t + 1, 3, 4)
    expected = aft_local(*tensors, bias, window=4, causal=True)
    assert_same(torch.stack(out, dim=1), expected, [*tensors, bias])


def test_which_methods_can_be_causal():
    assert set(METHODS) - set(CAUSAL) == {"linformer", "nystromformer"}
    assert set(RECURRENT) < set(CAUSAL)


@pytest.mark.parametrize("name", CAUSAL)
def test_a_causal_method_lets_nothing_back_in_time(name):
    query, key, value = (x.detach() for x in heads(17))
    before = METHODS[name](query, key, value, 6, causal=True)
    later = (torch.arange(17) >= 9)[:, None]
    changed = [torch.where(later, x + 5, x) for x in (query, key, value)]
    if name in ("aft full", "aft local"):  # the interface takes its bias from scores
        bias = torch.randn(17, 17, dtype=torch.float64)
        before = aft_full(query, key, value, bias, causal=True)
        after = aft_full(*changed, bias, causal=True)
    else:
        after = METHODS[name](*changed, 6, causal=True)
    assert torch.equal(before[:, :, :9], after[:, :, :9])
    assert (before[:, :, 9:] != after[:, :, 9:]).all()


@every_method
def test_without_a_mask_the_last_token_reaches_the_first(name):
    query, key, value = (x.detach() for x in heads(17))
    before = METHODS[name](query, key, value, 17 if name == "nystromformer" else 16)
    changed = value.clone()
    changed[:, :, 8] += 100
    after = METHODS[name](query, key, changed, 17 if name == "nystromformer" else 16)
    assert (before[:, :, 0] != after[:, :, 0]).all()


@pytest.mark.parametrize("name", ["linformer", "nystromformer"])
def test_a_method_that_mixes_later_tokens_in_refuses_to_be_causal(name):
    with pytest.raises(ValueError, match="it can't be causal"):
        METHODS[name](*heads(17), 6, causal=True)


@pytest.mark.parametrize("name", CAUSAL)
def test_the_first_token_sees_itself_alone(name):
    query, key, value = heads(17)
    out = METHODS[name](query, key, value, 6, causal=True)[:, :, 0]
    gate = query[:, :, 0].sigmoid() if METHODS[name].per_channel else 1
    near(out, gate * value[:, :, 0])


@pytest.mark.parametrize("length", [1, 17])
@pytest.mark.parametrize(
    ("name", "causal"),
    [(name, False) for name in METHODS] + [(name, True) for name in CAUSAL],
)
def test_the_effective_matrix_is_what_multiplies_the_values(name, causal, length):
    method = METHODS[name]
    query, key, value = (x.detach() for x in heads(length))
    budget = min(length, 6)
    matrix = effective_matrix(method, query, key, budget, causal)
    assert matrix.shape == (2, 2, length, length)
    if method.per_channel:  # a value that is the same in all channels
        value = value[..., :1].expand_as(value)
        out = method(query, key, value, budget, causal).mean(-1, keepdim=True)
        near(matrix @ value[..., :1], out)
    else:
        near(matrix @ value, method(query, key, value, budget, causal), 1e-8)
    if name not in ("nystromformer", "aft full", "aft local", "aft simple"):
        near(matrix.sum(-1), torch.ones_like(matrix[..., 0]))
        assert (matrix >= 0).all()
    if causal:
        assert (matrix.triu(1) == 0).all()


@pytest.mark.parametrize(
    ("name", "budget", "causal"),
    [
        ("linformer", 17, False),
        ("longformer", 32, False),
        ("longformer", 17, True),
    ],
)
def test_with_all_of_the_budget_nothing_is_lost(name, budget, causal):
    tensors = heads(17)
    expected = scaled_dot_product_attention(*tensors, is_causal=causal)
    near(METHODS[name](*tensors, budget, causal), expected)


def test_a_linformer_of_means_is_a_linformer():
    tensors = heads(17)
    project = segment_means(torch.eye(17, dtype=torch.float64), 5).T
    expected = linformer(*tensors, project, project)
    near(METHODS["linformer"](*tensors, 5), expected)


def test_a_window_of_six_tokens_is_six_behind_or_three_on_each_side():
    query, key, _ = heads(17)
    matrix = effective_matrix(METHODS["longformer"], query, key, 6)
    assert torch.equal(matrix[0, 0] > 0, band(17, 3))
    matrix = effective_matrix(METHODS["longformer"], query, key, 6, causal=True)
    assert torch.equal(matrix[0, 0] > 0, band(17, 5, causal=True))


SHAPES = [(64, 8, 4), (64, 8, 32), (96, 32, 16), (100, 4, 7), (512, 16, 64)]  # T, N, M
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


@every_method
@every_shape
def test_the_largest_array_is_as_large_as_predicted(name, shape):
    length, size, budget = shape
    tensors = heads(length, batch=1, count=1, size=size)
    with torch.no_grad(), LargestArray() as largest:
        METHODS[name](*tensors, budget)
    assert largest.numbers == METHODS[name].memory(*shape)


def test_fused_attention_makes_no_array_of_all_pairs():
    tensors = heads(512, batch=1, count=1)
    with torch.no_grad(), LargestArray() as largest:
        fused_attention(*tensors)
    assert largest.numbers == 512 * tensors[0].shape[-1]


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if not m.per_channel])
@every_shape
def test_pytorch_counts_as_many_operations_as_predicted(name, shape):
    length, size, budget = shape
    tensors = heads(length, batch=1, count=1, size=size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        METHODS[name](*tensors, budget)
    assert counter.get_total_flops() == METHODS[name].flops(*shape)


@pytest.mark.parametrize("name", ["linear", "longformer", "performer", "aft simple"])
def test_a_causal_form_in_linear_time_makes_no_array_of_all_pairs(name):
    largest = []
    for length in (256, 512):
        tensors = heads(length, batch=1, count=1)
        with torch.no_grad(), LargestArray() as counted:
            METHODS[name](*tensors, 16, causal=True)
        largest.append(counted.numbers)
    assert largest[1] <= 2 * largest[0]
    assert largest[1] < 512 * 512 / 4
