from django.apps import AppConfig


class GoldpanConfig(AppConfig):
    name = "goldpan"
