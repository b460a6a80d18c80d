import pytest

from training.memory import Plan, fit, gpu_seconds, lora_parameters, memory_gb, shape_from_config

LLAMA_3_8B = shape_from_config({
    "num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False})
SMOL = shape_from_config({
    "num_hidden_layers": 30, "hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True})


def test_parameters_are_counted_from_a_models_config():
    assert LLAMA_3_8B.n_parameters == pytest.approx(8.03e9, rel=0.001)
    assert SMOL.n_parameters == pytest.approx(134.5e6, rel=0.001)
    assert lora_parameters(LLAMA_3_8B, 16) == pytest.approx(41.9e6, rel=0.002)


@pytest.mark.parametrize(("method", "batch_size", "gb"), [
    ("lora", 1, 19.8), ("lora", 4, 25.5), ("qlora", 1, 9.6), ("qlora", 4, 15.3)])
def test_memory_of_an_8b_model_is_as_published_formulas_have_it(method, batch_size, gb):
    plan = Plan(method, batch_size, 1024, has_checkpointing=True)
    assert memory_gb(LLAMA_3_8B, plan, r=16) == pytest.approx(gb, rel=0.03)


def test_full_fine_tuning_takes_sixteen_bytes_a_parameter():
    assert memory_gb(LLAMA_3_8B, Plan("full", 1, 1024, has_checkpointing=True), r=16) == pytest.approx(132, rel=0.02)


@pytest.mark.parametrize(("gb", "words"), [
    (80, "Fits as it is"), (48, "one row at a time, 4 for a step:"), (24, "gradient checkpointing: "),
    (16, "gradient checkpointing, QLoRA (4-bit weights)"), (8, "choose a smaller model")])
def test_fallbacks_come_in_their_order(gb, words):
    assert words in fit(LLAMA_3_8B, r=16, batch_size=4, tokens=1024, gb=gb).words


@pytest.mark.parametrize("gb", [8, 12, 16, 24, 40, 80])
def test_what_fits_leaves_a_tenth_free(gb):
    found = fit(LLAMA_3_8B, r=16, batch_size=8, tokens=2048, gb=gb)
    assert found.plan is None or memory_gb(LLAMA_3_8B, found.plan, r=16) <= 0.9 * gb


def test_a_row_is_shortened_last():
    found = fit(LLAMA_3_8B, r=16, batch_size=1, tokens=4096, gb=12)
    assert found.plan.method == "qlora" and found.plan.tokens < 4096 and "rows of at most" in found.words


def test_seconds_follow_from_operations():
    low, high = gpu_seconds(LLAMA_3_8B, Plan("lora", 1, 1024), n_tokens=1_000_000, teraflops=312)
    # 4 × 8.03e9 × 1e6 operations at 40 and 30 % of 312e12 a second
    assert (low, high) == pytest.approx((257.4, 343.2), rel=0.001)
    assert gpu_seconds(LLAMA_3_8B, Plan("qlora", 1, 1024), n_tokens=1_000_000, teraflops=312)[0] > low


def test_all_weights_are_never_trained_in_four_bits():
    found = fit(LLAMA_3_8B, r=16, batch_size=4, tokens=1024, gb=48, method="full")
    assert found.plan is None and "train LoRA, or choose a smaller model" in found.words
    small = fit(SMOL, r=16, batch_size=8, tokens=512, gb=8, method="full")
    assert small.plan is not None and small.plan.method == "full"


def test_a_small_model_takes_gradients_and_moments_of_all_its_weights():
    full, lora = (memory_gb(SMOL, Plan(method, 8, 128), r=8) for method in ("full", "lora"))
    assert full - lora == pytest.approx((14 * SMOL.n_parameters - 16 * lora_parameters(SMOL, 8)) / 1e9)
