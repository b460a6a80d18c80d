from django.urls import path

from curation import views

app_name = "curation"
urlpatterns = [
    path("projects/<int:pk>/review/", views.review, name="review"),
    path("projects/<int:pk>/review/decide/", views.review_decide, name="decide"),
    path("projects/<int:pk>/review/undo/", views.review_undo, name="undo"),
    path("projects/<int:pk>/quality/", views.quality, name="quality"),
    path("projects/<int:pk>/quality/score/", views.quality_score, name="score"),
    path("projects/<int:pk>/gold-set/", views.gold_set, name="gold-set"),
    path("projects/<int:pk>/gold-set/preview/", views.gold_set_preview, name="gold-set-preview"),
    path("projects/<int:pk>/gold-set/held-out/", views.gold_set_held_out, name="gold-set-held-out"),
    path("projects/<int:pk>/gold-set/freeze/", views.gold_set_freeze, name="freeze"),
    path("projects/<int:pk>/snapshots/", views.snapshot_list, name="snapshot-list"),
    path("snapshots/<int:pk>/", views.snapshot_detail, name="snapshot-detail"),
    path("snapshots/<int:pk>/approve/", views.snapshot_approve, name="snapshot-approve"),
    path("snapshots/<int:pk>/export/", views.snapshot_export, name="snapshot-export"),
]
