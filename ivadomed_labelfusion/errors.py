"""The one exception type for input that the user can mend."""


class InputError(ValueError):
    """Bad input: the message says what must be, what was found, where, and what to do.

    The command line prints the message alone, without a traceback, and exits with status 2.
    """
