from django.urls import path

from labeling import views

app_name = "labeling"
urlpatterns = [
    path("projects/<int:pk>/import/", views.upload_create, name="import"),
    path("uploads/<int:pk>/", views.upload_detail, name="upload"),
    path("uploads/<int:pk>/bad-rows/", views.upload_bad_rows, name="upload-bad-rows"),
    path("uploads/<int:pk>/import/", views.upload_import, name="upload-import"),
    path("projects/<int:pk>/examples/", views.example_list, name="example-list"),
    path("projects/<int:pk>/examples/push/", views.example_push, name="push"),
    path("examples/<int:pk>/", views.example_detail, name="example"),
    path("projects/<int:pk>/pull/", views.annotation_pull, name="pull"),
    path("projects/<int:pk>/label-studio-account/", views.account_create, name="account"),
    path("label-studio/<int:pk>/webhook/", views.webhook, name="webhook"),
]
