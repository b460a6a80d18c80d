from django.urls import path

from projects import views
from projects.views import inbox, webhooks

# goldpan.urls adds the project's home page, which looks into every app, under the same namespace.
app_name = "projects"
urlpatterns = [
    path("projects/<int:pk>/members/", views.member_list, name="members"),
    path("inbox/", inbox.inbox, name="inbox"),
    path("inbox/read/", inbox.inbox_read, name="inbox-read"),
    path("inbox/mail/", inbox.mail, name="mail"),
    path("inbox/<int:pk>/", inbox.notice, name="notice"),
    path("projects/<int:pk>/webhooks/", webhooks.webhook_list, name="webhooks"),
    path("webhooks/<int:pk>/", webhooks.webhook_detail, name="webhook"),
    path("webhooks/<int:pk>/edit/", webhooks.webhook_edit, name="webhook-edit"),
    path("webhooks/<int:pk>/state/", webhooks.webhook_state, name="webhook-state"),
    path("webhooks/<int:pk>/secret/", webhooks.webhook_secret, name="webhook-secret"),
    path("webhooks/<int:pk>/test/", webhooks.webhook_test, name="webhook-test"),
    path("webhooks/<int:pk>/again/", webhooks.webhook_again, name="webhook-again"),
    path("projects/<int:pk>/keys/", views.key_list, name="keys"),
    path("keys/<int:pk>/revoke/", views.key_revoke, name="key-revoke"),
]
