from django.db import models


class EmbeddingShard(models.Model):
    """A float16 array of embeddings in the object store; the rows say which text is where in it."""

    encoder = models.CharField(max_length=120)
    sha256 = models.CharField(max_length=64)
    n_rows = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.encoder}: {self.n_rows} rows"


class Embedding(models.Model):
    """Where the embedding of a text is. Kept by content, so a text is encoded once per encoder, for ever."""

    encoder = models.CharField(max_length=120)
    content_sha256 = models.CharField(max_length=64)
    shard = models.ForeignKey(EmbeddingShard, on_delete=models.PROTECT, related_name="embeddings", db_index=False)
    row = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["encoder", "content_sha256"], name="one_embedding_per_encoder_and_text")]

    def __str__(self) -> str:
        return self.content_sha256
