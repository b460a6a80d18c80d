from django.urls import path

from curation.views import adjudication, gold_sets, guidelines, known_answers, next_labels, quality, review, snapshots

app_name = "curation"
urlpatterns = [
    path("projects/<int:pk>/review/", review.review, name="review"),
    path("projects/<int:pk>/review/decide/", review.review_decide, name="decide"),
    path("projects/<int:pk>/review/undo/", review.review_undo, name="undo"),
    path("projects/<int:pk>/adjudicate/", adjudication.adjudicate, name="adjudicate"),
    path("projects/<int:pk>/adjudicate/settle/", adjudication.adjudicate_settle, name="adjudicate-settle"),
    path("projects/<int:pk>/adjudicate/undo/", adjudication.adjudicate_undo, name="adjudicate-undo"),
    path("projects/<int:pk>/adjudicate/causes/", adjudication.cause_list, name="causes"),
    path("projects/<int:pk>/guideline/", guidelines.guideline_detail, name="guideline"),
    path("projects/<int:pk>/guideline/changes/", guidelines.guideline_changes, name="guideline-changes"),
    path("projects/<int:pk>/guideline/edit/", guidelines.guideline_edit, name="guideline-edit"),
    path("projects/<int:pk>/guideline/preview/", guidelines.guideline_preview, name="guideline-preview"),
    path("projects/<int:pk>/guideline/ask-again/", guidelines.guideline_ask_again, name="guideline-ask-again"),
    path("projects/<int:pk>/quality/", quality.quality, name="quality"),
    path("projects/<int:pk>/quality/changes/", quality.quality_changes, name="quality-changes"),
    path("projects/<int:pk>/quality/score/", quality.quality_score, name="score"),
    path("projects/<int:pk>/labeling/next/", next_labels.next_labels, name="next-labels"),
    path("projects/<int:pk>/known-answers/candidates/", known_answers.known_answer_candidates, name="known-answers"),
    path("projects/<int:pk>/gold-set/", gold_sets.gold_set, name="gold-set"),
    path("projects/<int:pk>/gold-set/preview/", gold_sets.gold_set_preview, name="gold-set-preview"),
    path("projects/<int:pk>/gold-set/held-out/", gold_sets.gold_set_held_out, name="gold-set-held-out"),
    path("projects/<int:pk>/gold-set/freeze/", gold_sets.gold_set_freeze, name="freeze"),
    path("projects/<int:pk>/snapshots/", snapshots.snapshot_list, name="snapshot-list"),
    path("snapshots/<int:pk>/", snapshots.snapshot_detail, name="snapshot-detail"),
    path("snapshots/<int:pk>/approve/", snapshots.snapshot_approve, name="snapshot-approve"),
    path("snapshots/<int:pk>/export/", snapshots.snapshot_export, name="snapshot-export"),
]
