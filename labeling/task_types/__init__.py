"""One module per type of task; all that the product knows about a type stands in its module."""
