"""The one error that people see."""


class UserError(Exception):
    """Something its reader can put right: the message says what is wrong, with the number, then what to do."""
