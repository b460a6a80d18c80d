"""QLoRA as far as it goes without a GPU: its configuration, its memory, and what is said where it cannot be done."""

from dataclasses import replace

import pytest

from jobs.child import ChildRefused, run_child
from tests.training.story import TRIAL
from tests.training.test_finetune import spec_of
from training import language_model
from training.config import TrainingConfig
from training.memory import fit, memory_gb, shape_from_config
from training.quote import Machine, elsewhere

SEVEN_B = shape_from_config({"num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 14336,
                             "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256})


def test_weights_have_sixteen_bits_or_four():
    assert TrainingConfig(weight_bits=4).weight_bits == 4
    with pytest.raises(ValueError, match="weight_bits must be 16, or 4 for QLoRA, got 8"):
        TrainingConfig(weight_bits=8)


def test_the_configuration_is_that_of_the_paper(monkeypatch):
    import importlib.metadata

    from transformers import BitsAndBytesConfig

    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.50.2" if name == "bitsandbytes" else real(name))
    config = BitsAndBytesConfig(**language_model.QLORA)
    assert config.quantization_method() == "nf4" and config.bnb_4bit_use_double_quant
    assert str(config.bnb_4bit_compute_dtype) == "torch.bfloat16"


@pytest.mark.parametrize("module", ["training.trial", "training.finetune"])
def test_without_a_gpu_it_is_refused_in_words(tiny_folder, tmp_path, module):
    with pytest.raises(ChildRefused, match="needs a GPU of NVIDIA's, and this machine has none"):
        run_child(module, spec_of(tmp_path, tiny_folder, weight_bits=4), folder=tmp_path)


def test_it_takes_the_weights_memory_down_to_about_a_third():
    plan = fit(SEVEN_B, r=16, batch_size=1, tokens=512, gb=80).asked
    whole, small = (memory_gb(SEVEN_B, replace(plan, method=method), r=16) for method in ("lora", "qlora"))
    assert 8 < whole - small < 12  # of 8 billion parameters 7 are linear: 2 bytes each to 0.53


def test_advice_for_a_run_by_qlora_reckons_with_it():
    [lora], [qlora] = (elsewhere(TRIAL, TrainingConfig(weight_bits=bits), [Machine("A10", 1.0, "USD", 24.0, 125.0)])
                       for bits in (16, 4))
    assert qlora.fit.plan.method == "qlora" and qlora.fit.words.startswith("Fits as it is")
    assert qlora.fit.needed_gb < lora.fit.needed_gb and qlora.seconds > lora.seconds
