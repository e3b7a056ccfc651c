"""The one exception that is the user's to mend."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line that says what is wrong, where, and how to mend it.
    The command line prints it without a traceback and exits with status 2; any
    other exception is a bug of ours and keeps its traceback.
    """
