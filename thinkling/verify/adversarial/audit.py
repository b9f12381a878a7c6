"""A second opinion: Math-Verify's verdict on a response, for finding out where two verifiers disagree.

It is known to hang, and its own time limit works on the main thread only: call it through `Isolated`.
"""

from thinkling.errors import UserError, install
from thinkling.isolated import Isolated

LIMIT = 5.0  # seconds for one verdict


def math_verify(response: str, reference: str) -> str:
    """Math-Verify's verdict: correct, incorrect or unparsed. It sees what follows the thinking, as ours does."""
    from math_verify import parse, verify

    gold = parse(f"\\boxed{{{reference}}}", parsing_timeout=None)
    given = parse(response.rpartition("</think>")[2], parsing_timeout=None)
    if verify(gold, given, timeout_seconds=None):
        return "correct"
    return "incorrect" if gold and given else "unparsed"


def auditor() -> Isolated:
    """A child process that runs `math_verify`. Raises UserError where Math-Verify is not installed."""
    import importlib.util

    if importlib.util.find_spec("math_verify") is None:
        raise UserError(f"--audit math-verify needs Math-Verify: {install('audit')}")
    return Isolated("thinkling.verify.adversarial.audit:math_verify", LIMIT, warm_up=[("\\boxed{1}", "2")])
