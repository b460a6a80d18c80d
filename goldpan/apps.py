from django.apps import AppConfig
from django.core.checks import register

from goldpan.checks import check_settings


class GoldpanConfig(AppConfig):
    name = "goldpan"

    def ready(self) -> None:
        register(check_settings)
