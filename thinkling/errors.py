"""The one exception whose message is meant for the person at the keyboard."""


class UserError(Exception):
    """Bad input, said in one line that names the culprit and the mend.

    The command line prints the message and exits with code 2; library users see an ordinary exception.
    """
