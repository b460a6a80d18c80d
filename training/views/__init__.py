"""A module per subject: `page` is what they share."""
