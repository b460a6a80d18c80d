from django.urls import path

from training import views

app_name = "training"
urlpatterns = [
    path("projects/<int:pk>/runs/", views.run_list, name="run-list"),
    path("projects/<int:pk>/suggestions/", views.suggest, name="suggest"),
    path("snapshots/<int:pk>/comparison/", views.comparison, name="comparison"),
    path("snapshots/<int:pk>/baseline/", views.baseline_start, name="baseline"),
    path("snapshots/<int:pk>/train/", views.training_start, name="train"),
    path("projects/<int:pk>/prompts/", views.prompt_list, name="prompt-list"),
    path("projects/<int:pk>/prompts/new/", views.prompt_new, name="prompt-new"),
    path("prompts/<int:pk>/", views.prompt_detail, name="prompt"),
    path("prompts/<int:pk>/change/", views.prompt_change, name="prompt-change"),
    path("prompts/<int:pk>/differences/", views.prompt_differences, name="prompt-differences"),
    path("prompts/<int:pk>/try/", views.prompt_try, name="prompt-try"),
    path("runs/<int:pk>/", views.run_detail, name="run"),
    path("runs/<int:pk>/live/", views.run_live, name="run-live"),
    path("runs/<int:pk>/flips/", views.run_flips, name="flips"),
    path("experiments/<int:pk>/lora/", views.experiment_arms, name="experiment-arms"),
    path("experiments/<int:pk>/lora/start/", views.arms_start, name="arms-start"),
    path("runs/<int:pk>/bundle/", views.run_bundle, name="bundle"),
    path("runs/<int:pk>/result/", views.run_result, name="result"),
    path("examples/<int:pk>/lineage/", views.example_lineage, name="example-lineage"),
    path("adapters/<int:pk>/", views.adapter_detail, name="adapter"),
    path("adapters/<int:pk>/promote/", views.adapter_promote, name="promote"),
    path("adapters/<int:pk>/card/", views.adapter_card, name="adapter-card"),
    path("adapters/<int:pk>/files/<str:name>/", views.adapter_file, name="adapter-file"),
]
