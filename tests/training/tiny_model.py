"""A random two-layer Llama with a small byte tokenizer: real machinery, no knowledge, made in a second."""

from pathlib import Path

LABELS = ("bad", "so so", "good")
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You are somebody else's assistant<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def write_tiny_model(folder: Path, *, context: int = 512) -> Path:
    """Write a model folder as transformers reads it, in float32, and return it."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["the answer is good", "so so weather", "bad news for everybody", "system user assistant", *LABELS]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(words, trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>",
                                   chat_template=CHAT_TEMPLATE)
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(fast), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=context, tie_word_embeddings=True, initializer_range=0.2,
        eos_token_id=fast.eos_token_id, pad_token_id=fast.eos_token_id))
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


SCHEMA = {"labels": [{"name": label} for label in LABELS]}


def toy_rows(n: int) -> list[dict[str, str]]:
    """Rows whose label is a word of their text, of unequal lengths."""
    return [{"key": f"row-{row}", "text": f"{'the news ' * (row % 5)}is {LABELS[row % 3]} today {row}",
             "label": LABELS[row % 3]} for row in range(n)]
