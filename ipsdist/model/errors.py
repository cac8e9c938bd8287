"""The two ways a run can end badly: input that is refused before any work, and work that fails."""

__all__ = ["InputError", "RunError"]


class InputError(ValueError):
    """Bad input: refused before anything is computed or written (exit code 2).

    The message is one line: the argument in backticks, the rule, what came, the usual fix.
    """

    def __init__(self, argument: str, rule: str, got: object = None, fix: str = "") -> None:
        parts = [f"`{argument}` {rule}"]
        if got is not None:
            parts.append(f"got {got}")
        if fix:
            parts.append(fix)
        self.argument = argument
        super().__init__(" ".join("; ".join(parts).split()))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by the finished message, so that a worker's refusal reaches the driver whole."""
        return _restore, (self.argument, str(self))


def _restore(argument: str, message: str) -> InputError:
    error = InputError(argument, "")
    error.args = (message,)
    return error


class RunError(RuntimeError):
    """Work that failed after it began (exit code 1); what was committed is kept."""
