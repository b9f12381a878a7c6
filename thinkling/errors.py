"""The exceptions whose message is meant for the person at the keyboard."""


class UserError(Exception):
    """Bad input, said in one line that names the culprit and the mend.

    The command line prints the message and exits with code 2; library users see an ordinary exception.
    """


class FatalError(UserError):
    """One that every other problem of a run would meet too, such as a server that is gone: it is never skipped."""
