"""The one exception for what a user can mend."""


class BadInput(ValueError):  # noqa: N818 - it is the input that is bad, and the message says how
    """Bad input: one line that names the value, where it stands, and what is allowed. Steps print it and exit 2."""
