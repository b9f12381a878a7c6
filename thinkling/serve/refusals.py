"""What the server refuses, as OpenAI's clients expect it: a status, and JSON that names the parameter and the fix."""

from dataclasses import dataclass, field

TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    405: "invalid_request_error", 408: "timeout_error", 413: "invalid_request_error", 415: "invalid_request_error",
    429: "rate_limit_error", 431: "invalid_request_error", 500: "server_error", 504: "timeout_error",
}  # fmt: skip


@dataclass
class ApiError(Exception):
    """A refusal. param: the parameter to blame; code: a word for programs. headers: Retry-After and the like."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def json(self) -> dict:
        kind = TYPES.get(self.status, "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def bad(param: str | None, message: str) -> ApiError:
    """A 400 for what a request says; the message begins with the parameter's name."""
    return ApiError(400, f"{param}: {message}" if param else message, param)
