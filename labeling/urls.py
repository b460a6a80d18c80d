from django.urls import path

from labeling.views import batches, board, examples, people, rules, uploads, webhook

app_name = "labeling"
urlpatterns = [
    path("projects/<int:pk>/import/", uploads.upload_create, name="import"),
    path("uploads/<int:pk>/", uploads.upload_detail, name="upload"),
    path("uploads/<int:pk>/bad-rows/", uploads.upload_bad_rows, name="upload-bad-rows"),
    path("uploads/<int:pk>/import/", uploads.upload_import, name="upload-import"),
    path("projects/<int:pk>/examples/", examples.example_list, name="example-list"),
    path("examples/<int:pk>/", examples.example_detail, name="example"),
    path("projects/<int:pk>/labeling/", board.board, name="board"),
    path("projects/<int:pk>/labeling/confusion/", board.confusion_table, name="confusion"),
    path("projects/<int:pk>/labeling/sync/", board.sync_now, name="sync"),
    path("projects/<int:pk>/labeling/new/", batches.batch_create, name="batch-create"),
    path("batches/<int:pk>/", batches.batch_detail, name="batch"),
    path("batches/<int:pk>/state/", batches.batch_state, name="batch-state"),
    path("batches/<int:pk>/again/", batches.batch_again, name="batch-again"),
    path("batches/<int:pk>/file/", batches.batch_file, name="batch-file"),
    path("batches/<int:pk>/answers/", batches.batch_answers, name="batch-answers"),
    path("projects/<int:pk>/labeling/rules/", rules.rules, name="rules"),
    path("projects/<int:pk>/known-answers/", rules.known_answer_list, name="known-answers"),
    path("known-answers/<int:pk>/retire/", rules.known_answer_retire, name="known-answer-retire"),
    path("projects/<int:pk>/labeling/desk/", people.desk_fill, name="desk"),
    path("annotators/<int:pk>/", people.annotator_detail, name="annotator"),
    path("annotators/<int:pk>/pause/", people.annotator_pause, name="annotator-pause"),
    path("annotators/<int:pk>/resume/", people.annotator_resume, name="annotator-resume"),
    path("annotators/<int:pk>/pass-exam/", people.annotator_pass, name="annotator-pass"),
    path("desks/<int:pk>/webhook/", webhook.webhook, name="webhook"),
]
