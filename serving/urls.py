from django.urls import path

from serving.views import drift, experiments, live, shadows, v1

app_name = "serving"
urlpatterns = [
    path("projects/<int:pk>/live/", live.live, name="live"),
    path("projects/<int:pk>/live/rules/", live.rules, name="live-rules"),
    path("projects/<int:pk>/live/replay/", live.replay, name="live-replay"),
    path("projects/<int:pk>/ab-tests/", experiments.ab_test_list, name="ab-test-list"),
    path("projects/<int:pk>/ab-tests/new/", experiments.ab_test_new, name="ab-test-new"),
    path("ab-tests/<int:pk>/", experiments.ab_test, name="ab-test"),
    path("ab-tests/<int:pk>/stop/", experiments.ab_test_stop, name="ab-test-stop"),
    path("ab-tests/<int:pk>/ship/", experiments.ab_test_ship, name="ab-test-ship"),
    path("projects/<int:pk>/shadows/", shadows.shadow_start, name="shadow-start"),
    path("shadows/<int:pk>/", shadows.shadow, name="shadow"),
    path("shadows/<int:pk>/people/", shadows.shadow_people, name="shadow-people"),
    path("projects/<int:pk>/drift/", drift.drift, name="drift"),
    path("projects/<int:pk>/drift/plan/", drift.plan, name="watch-plan"),
    path("projects/<int:pk>/drift/advice/", drift.advice, name="watch-advice"),
    path("projects/<int:pk>/drift/extra/", drift.extra, name="look-extra"),
    path("looks/<int:pk>/", drift.look, name="look"),
    path("proposals/<int:pk>/", drift.proposal, name="proposal"),
    path("proposals/<int:pk>/decide/", drift.proposal_decide, name="proposal-decide"),
    path("v1/models", v1.model_list, name="v1-models"),
    path("v1/chat/completions", v1.chat_completions, name="v1-chat"),
    path("v1/projects/<int:pk>/predict", v1.predict, name="v1-predict"),
    path("v1/feedback", v1.feedback, name="v1-feedback"),
]
