"""The one error of the supervisor: a sentence for the person at the terminal."""


class CannotStart(Exception):
    """Something needed is missing; the message says what, why and what to do."""
