from allauth.account import views as account
from django.contrib import admin
from django.urls import include, path

from goldpan import views
from goldpan.api.joined import api
from projects.urls import urlpatterns as of_projects

# The home page of a project looks into every app, a new project into the starters: their views stand above them all.
projects_patterns = [path("projects/new/", views.project_create, name="create"),
                     path("projects/<int:pk>/", views.project_detail, name="detail"), *of_projects]

urlpatterns = [
    path("", views.home, name="home"),
    path("", include((projects_patterns, "projects"))),
    path("", include("labeling.urls")),
    path("", include("jobs.urls")),
    path("", include("curation.urls")),
    path("", include("training.urls")),
    path("", include("serving.urls")),
    path("api/", api.urls),
    path("healthz", views.healthz, name="healthz"),
    path("accounts/login/", account.login, name="account_login"),
    path("accounts/logout/", account.logout, name="account_logout"),
    path("accounts/password/", account.password_change, name="account_change_password"),
    path("admin/", admin.site.urls),
]
