"""The one exception type for input that the user can mend."""


class InputError(ValueError):
    """Bad input: the message says what must be, what was found, where, and what to do.

    The command line prints the message alone, without a traceback, and exits with status 2.
    """


def file_trouble(error):
    """Return one line about an OSError that names a file, None for any other OSError.

    Args:
        error (OSError): As raised by an attempt to read or write.
    """
    if error.filename is None:
        return None
    return f"{error.filename}: {error.strerror or type(error).__name__}. Check the path and the rights of its folder."
