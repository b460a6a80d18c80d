import pytest

from jobs.progress import silent
from training import language_model
from training.general_suite import answer_suite, p_forgotten, read_suite, suite_sha256
from training.label_scoring import label_log_likelihoods
from training.merging import merge_files
from training.prompts import LabelText, Prompt


def test_the_suite_is_fifty_questions_with_one_right_answer_each():
    suite = read_suite()
    assert len(suite) == len({one.question for one in suite}) == 50
    assert all(len(set(one.options)) == 4 and 0 <= one.answer < 4 for one in suite)
    places = [one.answer for one in suite]
    assert max(places.count(place) for place in range(4)) <= 13, "always the first is no good answer"


def test_the_suite_is_frozen():
    """A changed suite is another one: results before and after do not compare."""
    assert suite_sha256() == "1e5f8e05946af05866a4bd81b686cf0074999d8ffee8372338eccd3e4849638c"


def test_a_loss_is_clear_only_where_chance_does_not_explain_it():
    base = [True] * 40 + [False] * 10
    assert p_forgotten(base, base) == 1
    assert p_forgotten(base, [False] * 5 + base[5:]) == pytest.approx(1 / 32)
    assert p_forgotten(base, [False] * 5 + base[5:45] + [True] * 5) == pytest.approx(638 / 1024)


@pytest.fixture(scope="module")
def tuned(tiny_folder, tmp_path_factory):
    """An adapter on the tiny model whose weights do something."""
    import torch
    from peft import get_peft_model

    loaded = language_model.load(tiny_folder)
    torch.manual_seed(1)
    model = get_peft_model(loaded.model, language_model.lora_config(r=4, alpha=8, dropout=0))
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_B" in name:
                weights.normal_(0, 0.3)
    folder = tmp_path_factory.mktemp("tuned")
    model.save_pretrained(folder)
    return folder


def test_both_are_asked_and_the_base_model_without_the_adapter(tiny_folder, tuned, tmp_path):
    found = answer_suite({"model": str(tiny_folder), "adapter": str(tuned), "threads": 1}, tmp_path, silent)
    assert len(found["base"]) == len(found["adapter"]) == 50 and found["base"] != found["adapter"]
    assert found["suite_sha256"] == suite_sha256()


def test_a_merged_model_says_what_its_adapter_says(tiny_folder, tuned, tmp_path):
    merge_files({"model": str(tiny_folder), "adapter": str(tuned), "threads": 1}, tmp_path, silent)
    prompt = Prompt("p", "Say.", "{text}", (), (LabelText("a", "good"), LabelText("b", "bad")))
    texts = ["the news is good", "so so weather"]
    base, beside, merged = (label_log_likelihoods(language_model.load(*args[:1], adapter=args[1]), prompt, texts)
                            for args in ((tiny_folder, None), (tiny_folder, tuned), (tmp_path / "merged", None)))
    assert merged == pytest.approx(beside, abs=1e-3) and abs(base - beside).max() > 0.1
