from django.urls import path

from jobs import views

app_name = "jobs"
urlpatterns = [
    path("projects/<int:pk>/jobs/", views.job_list, name="job-list"),
    path("jobs/<int:pk>/", views.job_detail, name="job"),
    path("jobs/<int:pk>/progress/", views.job_progress, name="job-progress"),
    path("jobs/<int:pk>/cancel/", views.job_cancel, name="job-cancel"),
    path("jobs/<int:pk>/retry/", views.job_retry, name="job-retry"),
]
