"""The one exception type for input that the user can mend."""

import errno


class InputError(ValueError):
    """Bad input: the message says what must be, what was found, where, and what to do.

    The command line prints the message alone, without a traceback, and exits with status 2.
    """


def file_trouble(error: OSError) -> str | None:
    """Return one line about an OSError that names a file or speaks of a full disk, None for any other OSError.

    Args:
        error: As raised by an attempt to read or write.
    """
    if error.errno == errno.ENOSPC:
        return f"{error.filename or 'Output'}: {error.strerror}. Free some, and repeat the command."
    if error.filename is None:
        return None
    return f"{error.filename}: {error.strerror or type(error).__name__}. Check the path and the rights of its folder."
