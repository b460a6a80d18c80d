from django.forms.renderers import TemplatesSetting


class GoldpanFormRenderer(TemplatesSetting):
    field_template_name = "forms/field.html"
