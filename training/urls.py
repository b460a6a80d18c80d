from django.urls import path

from training.views import adapters, arms, comparison, economics, elsewhere, lineage, prompts, quotes, runs

app_name = "training"
urlpatterns = [
    path("projects/<int:pk>/runs/", runs.run_list, name="run-list"),
    path("projects/<int:pk>/suggestions/", comparison.suggest, name="suggest"),
    path("snapshots/<int:pk>/comparison/", comparison.comparison, name="comparison"),
    path("snapshots/<int:pk>/baseline/", comparison.baseline_start, name="baseline"),
    path("projects/<int:pk>/prompts/", prompts.prompt_list, name="prompt-list"),
    path("projects/<int:pk>/prompts/new/", prompts.prompt_new, name="prompt-new"),
    path("prompts/<int:pk>/", prompts.prompt_detail, name="prompt"),
    path("prompts/<int:pk>/change/", prompts.prompt_change, name="prompt-change"),
    path("prompts/<int:pk>/differences/", prompts.prompt_differences, name="prompt-differences"),
    path("prompts/<int:pk>/try/", prompts.prompt_try, name="prompt-try"),
    path("projects/<int:pk>/economics/", economics.economics, name="economics"),
    path("projects/<int:pk>/prices/", economics.price_table, name="prices"),
    path("projects/<int:pk>/prices/withdraw/", economics.price_withdraw, name="price-withdraw"),
    path("snapshots/<int:pk>/quote/", quotes.quote_start, name="quote"),
    path("snapshots/<int:pk>/train/", quotes.training_start, name="train"),
    path("snapshots/<int:pk>/train/elsewhere/", quotes.training_elsewhere, name="train-elsewhere"),
    path("runs/<int:pk>/", runs.run_detail, name="run"),
    path("runs/<int:pk>/live/", runs.run_live, name="run-live"),
    path("runs/<int:pk>/cap/", quotes.run_raise_cap, name="raise-cap"),
    path("runs/<int:pk>/keep/", quotes.run_keep_best, name="keep-best"),
    path("runs/<int:pk>/flips/", runs.run_flips, name="flips"),
    path("runs/<int:pk>/differences/", runs.run_differences, name="run-differences"),
    path("experiments/<int:pk>/lora/", arms.experiment_arms, name="experiment-arms"),
    path("experiments/<int:pk>/lora/start/", arms.arms_start, name="arms-start"),
    path("runs/<int:pk>/bundle/", elsewhere.run_bundle, name="bundle"),
    path("runs/<int:pk>/result/", elsewhere.run_result, name="result"),
    path("examples/<int:pk>/lineage/", lineage.example_lineage, name="example-lineage"),
    path("adapters/<int:pk>/", adapters.adapter_detail, name="adapter"),
    path("adapters/<int:pk>/promote/", adapters.adapter_promote, name="promote"),
    path("adapters/<int:pk>/card/", adapters.adapter_card, name="adapter-card"),
    path("adapters/<int:pk>/files/<str:name>/", adapters.adapter_file, name="adapter-file"),
]
