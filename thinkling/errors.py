"""The exceptions whose message is meant for the person at the keyboard; and what the system refuses, in one line."""

import errno


class UserError(Exception):
    """Bad input, said in one line that names the culprit and the fix.

    The command line prints the message and exits with code 2; library users see an ordinary exception.
    """


class FatalError(UserError):
    """One that every other problem of a run would meet too, such as a server that is gone: it is never skipped."""


class NotWritten(FatalError):
    """The system does not take a file: the disk is full, say, or the place may not be written to."""


def install(extra: str) -> str:
    """How a person gets the packages of an extra: the package itself is on no index."""
    return f"in the checkout of thinkling, pip install -e '.[{extra}]'"


NO_FOLDER = "a file stands where a folder is needed: name another place"
NOT_ALLOWED = "you may not do that there: change its permissions, or name another place"
NO_ROOM = "make room there, or name another place"
FIXES = {
    errno.ENOSPC: NO_ROOM,
    errno.EDQUOT: NO_ROOM,
    errno.EFBIG: NO_ROOM,
    errno.EROFS: "name a place that can be written to",
    errno.EACCES: NOT_ALLOWED,
    errno.EPERM: NOT_ALLOWED,
    errno.ENOTDIR: NO_FOLDER,
    errno.EEXIST: NO_FOLDER,
    errno.EISDIR: "a folder stands where a file is needed: name a file",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "a link there leads back to itself: name another place",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
    errno.EIO: "the disk fails: name another place",
}


def refusal(error: OSError, path: object = None) -> str | None:
    """What the system refused, in one line; None for an error that is a bug and not a matter of disks and rights.

    path: what it was about, where the error itself does not say.
    """
    if error.errno not in FIXES:
        return None
    where = path or error.filename or "standard output"
    return f"{where}: {error.strerror}: {FIXES[error.errno]}"
