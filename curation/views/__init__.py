"""A module per page: `page` is what they share."""
