"""The exceptions and warnings that a user of qqtjax may meet: one clear line each."""


class QQTError(Exception):
    """Base of every error that qqtjax raises on purpose; its text is one line that a user can act on."""


class InputError(QQTError, ValueError):
    """Something that the user gave is wrong: the text says what, where, and what was expected."""


class MaxEpochsError(QQTError, ValueError):
    """A law that scans over epochs was traced without a static length: pass `max_epochs`."""


class MissingExtraError(QQTError, ImportError):
    """An optional package is needed and not installed; the text names the extra that brings it."""


class QQTWarning(UserWarning):
    """The input can be used, but the answer is worth less than it looks."""
