from django.urls import path

from projects import views

# goldpan.urls adds the project's home page, which looks into every app, under the same namespace.
app_name = "projects"
urlpatterns = [
    path("projects/<int:pk>/members/", views.member_list, name="members"),
    path("projects/<int:pk>/keys/", views.key_list, name="keys"),
    path("keys/<int:pk>/revoke/", views.key_revoke, name="key-revoke"),
]
