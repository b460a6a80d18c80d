from django.urls import path

from serving.views import live, v1

app_name = "serving"
urlpatterns = [
    path("projects/<int:pk>/live/", live.live, name="live"),
    path("projects/<int:pk>/live/rules/", live.rules, name="live-rules"),
    path("projects/<int:pk>/live/replay/", live.replay, name="live-replay"),
    path("v1/models", v1.model_list, name="v1-models"),
    path("v1/chat/completions", v1.chat_completions, name="v1-chat"),
    path("v1/projects/<int:pk>/predict", v1.predict, name="v1-predict"),
    path("v1/feedback", v1.feedback, name="v1-feedback"),
]
